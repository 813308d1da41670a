import type { FunctionResponse } from '#shared/http/function.ts';
import { type HtmlValue, html, type Markup, page } from '#shared/http/html.ts';
import type { Note } from '../report/report.ts';
import { renderBudgets } from './budgets.ts';
import { renderChart } from './chart.ts';
import { compact, count, dayRange, dollars, exactDollars, longMonth } from './format.ts';
import { hiddenFields, toLink, toPresets, withoutFilter } from './links.ts';
import { script } from './script.ts';
import { type StackedDays, toStackedDays } from './series.ts';
import { style } from './style.ts';
import { renderTable } from './tables.ts';
import type { SpendView, TableDimension } from './view.ts';

/** Beside the hashes of its own style and script nothing of a page may load, and nothing leaves its origin. */
export const shell = (status: number, title: string, body: Markup, headers: Record<string, string> = {}) =>
  page(status, { title, style, script, body }, headers);

export const renderNotes = (title: string, notes: Note[]): Markup | false =>
  notes.length > 0 &&
  html`<div class="note" role="note"><b>${title}</b>${notes.map(({ message }) => html`<p>${message}</p>`)}</div>`;

/** The totals are everybody's, also on a page that is held to somebody. */
function renderTiles({ totals, today, query }: SpendView): Markup {
  const whose = Object.keys(query.filters).length > 0 ? ', everybody' : '';
  const tile = (name: string, spend: bigint) =>
    html`<div class="card tile"><span>${name}${whose}</span><b title="${exactDollars(spend)}">${dollars(spend)}</b></div>`;
  return html`<section class="tiles" aria-label="Totals">${tile('Ever', totals.global)}${tile(longMonth(today), totals.currentMonth)}${tile('Today', totals.today)}</section>`;
}

const filterWords = {
  user: 'user',
  key: 'key',
  team: 'team',
  end_user: 'end user',
  model: 'model',
  tag: 'tag',
} as const;

function renderPicker({ query, today }: SpendView): Markup {
  const presets = toPresets(today).map(({ name, startDate, endDate }) => {
    const isCurrent = startDate === query.startDate && endDate === query.endDate;
    const current = isCurrent ? html` aria-current="page"` : '';
    return html`<a href="${toLink({ ...query, startDate, endDate })}"${current}>${name}</a>`;
  });
  return html`<section class="picker" aria-label="Period"><div class="chips">${presets}</div>
<form method="get"><label>from <input type="date" name="start_date" value="${query.startDate}" required></label>
<label>to <input type="date" name="end_date" value="${query.endDate}" required></label>
${hiddenFields(query).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`)}
<button>Show</button></form></section>`;
}

function renderFilters({ query }: SpendView): HtmlValue {
  const filters = Object.entries(query.filters) as [keyof typeof filterWords, string][];
  return (
    filters.length > 0 &&
    html`<div class="chips" aria-label="Filters">${filters.map(([filter, value]) => {
      const link = toLink({ ...query, filters: withoutFilter(query.filters, filter) });
      return html`<a href="${link}" title="Show everything again" aria-current="true">${filterWords[filter]} ${value} ✕</a>`;
    })}</div>`
  );
}

function renderDays(stacked: StackedDays, unit: string): Markup {
  const { series, columns } = stacked;
  return html`<details><summary>The same as a table</summary><div class="scroll"><table>
<thead><tr><th scope="col">${unit}</th><th scope="col">spent</th>${series.map(({ name }) => html`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>${columns.map(({ title, spend, parts }) => html`<tr><td>${title}</td><td title="${exactDollars(spend)}">${dollars(spend)}</td>${parts.map((part) => html`<td title="${exactDollars(part)}">${part === 0n ? '' : dollars(part)}</td>`)}</tr>`)}</tbody>
</table></div></details>`;
}

function renderSpending(view: SpendView): Markup {
  const { chart } = view;
  const { window, spend, requests, tokens } = chart;
  const stacked = toStackedDays(chart);
  const unit = chart.groupBy.includes('month') ? 'month' : 'day';
  const by = chart.groupBy.includes('model') ? ' and model' : '';
  const more = [
    requests === null ? '' : `${count(requests)} requests`,
    tokens === null ? '' : `${compact(tokens.total)} tokens`,
  ].filter((text) => text !== '');
  const summary = `Spend by ${unit}${by}, ${dayRange(window.startDate, window.endDate)}: ${dollars(spend)}`;
  return html`<section class="card"><div class="head"><h2>${dayRange(window.startDate, window.endDate)}, by ${unit}${by}</h2>
<span><b title="${exactDollars(spend)}">${dollars(spend)}</b> <span class="muted">${more.join(' · ')}</span></span></div>
${spend === 0n && html`<p class="muted">Nothing was spent in these days.</p>`}${spend !== 0n && html`<div class="charts" role="img" aria-label="${summary}">${renderChart(stacked, { width: 1040, height: 270, labels: 16, kind: 'wide' })}${renderChart(stacked, { width: 360, height: 230, labels: 5, kind: 'narrow' })}<div id="tip" hidden></div></div>`}
<ul class="legend">${stacked.series.map(({ name, color, spend: part }) => html`<li><i class="dot d${color}"></i>${name}<b>${dollars(part)}</b></li>`)}</ul>
${renderDays(stacked, unit)}</section>`;
}

// Two stacks of cards, so that a short one leaves no hole beside a long one.
const stacks: TableDimension[][] = [
  ['model', 'key'],
  ['team', 'user'],
];

/** `format=html`: one file, no network but this function's own. */
export function renderPage(view: SpendView, now: Date): FunctionResponse {
  const { query, chart, budgets, notes } = view;
  const asked = (format: string, groupBy: string) => toLink(query, { format, group_by: groupBy });
  const lastMonth = toPresets(view.today)[3]?.startDate.slice(0, 7) ?? '';
  return shell(
    200,
    `LLM spend · ${dollars(chart.spend)}`,
    html`<main>
<header><h1>LLM spend</h1><nav><a href="?view=statement&amp;month=${lastMonth}">Statement of ${longMonth(lastMonth)}</a><a href="${asked('csv', chart.groupBy.join(','))}">CSV</a><a href="${asked('json', chart.groupBy.join(','))}">JSON</a></nav></header>
${renderTiles(view)}
${renderPicker(view)}
${renderFilters(view)}
${renderNotes(chart.complete && view.totals.complete ? 'Note' : 'This is not all', notes)}
${renderSpending(view)}
${renderBudgets(budgets)}
<div class="two">${stacks.map((stack) => html`<div>${stack.map((dimension) => renderTable(dimension, view.tables[dimension], query))}</div>`)}</div>
<footer><p>Read ${now.toISOString().slice(0, 16).replace('T', ' ')} UTC from LiteLLM (${chart.source}). Days are ${chart.window.timezone}; LiteLLM writes a request some seconds after its end.</p></footer>
</main>`,
  );
}

/** What a person sees instead of JSON when something is wrong; `back` is a link of ours. */
export function renderProblem(status: number, message: string, callId: string): FunctionResponse {
  return shell(
    status,
    'LLM spend: a problem',
    html`<main><header><h1>LLM spend</h1></header>
<div class="note bad" role="alert"><b>${status >= 500 ? 'This could not be read' : 'This cannot be shown'}</b><p>${message}.</p></div>
<footer><p>Call <code>${callId}</code>. <a href="?">Back to this month</a></p></footer></main>`,
  );
}
