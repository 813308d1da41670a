import { html, type Markup } from '#shared/http/html.ts';
import type { PicoUsd } from '#shared/money.ts';
import type { SpendQuery } from '../report/query.ts';
import type { Label, SpendGroup, SpendReport } from '../report/report.ts';
import { compact, count, dollars, exactDollars, percentOf } from './format.ts';
import { toLink } from './links.ts';
import type { TableDimension } from './view.ts';

const titles: Record<TableDimension, string> = { model: 'By model', team: 'By team', user: 'By user', key: 'By key' };
const shownRows = 10;

/** A hash is no name to read: its ends tell it from the others, and the whole stands in the tooltip. */
const shortId = (id: string) => (/^[0-9a-f]{40,}$/.test(id) ? `${id.slice(0, 10)}…${id.slice(-6)}` : id);

function nameCell({ id, name }: Label, dimension: TableDimension, query: SpendQuery): Markup {
  if (id === '') return html`<span class="muted">no ${dimension}</span>`;
  const link = toLink({ ...query, filters: { ...query.filters, [dimension]: id } });
  const shown = name === '' || name === id ? shortId(id) : name;
  return html`<a href="${link}" title="${id}">${shown}</a>${shown !== id && name !== id && html`<small>${shortId(id)}</small>`}`;
}

function shareText(part: PicoUsd, whole: PicoUsd): string {
  const percent = percentOf(part, whole);
  return percent === 0 && part > 0n ? '<0.1 %' : `${percent.toFixed(1)} %`;
}

const share = (part: PicoUsd, whole: PicoUsd) =>
  html`<svg class="share" aria-hidden="true"><rect class="track" width="100%" height="4" rx="2"/><rect class="fill" width="${percentOf(part, whole)}%" height="4" rx="2"/></svg>`;

/** The ten groups with most spend; the others behind a fold. Each name leads to the page held to it. */
export function renderTable(dimension: TableDimension, report: SpendReport | string, query: SpendQuery): Markup {
  const title = html`<div class="head"><h2>${titles[dimension]}</h2>${typeof report !== 'string' && report.groups.length > 0 && html`<span class="muted">${count(report.groups.length)} in all</span>`}</div>`;
  if (typeof report === 'string') return html`<section class="card">${title}<p class="muted">${report}</p></section>`;
  if (report.groups.length === 0) {
    return html`<section class="card">${title}<p class="muted">Nothing was spent in these days.</p></section>`;
  }
  const row = (group: SpendGroup) => {
    const label = group.by[dimension] ?? { id: '', name: '' };
    return html`<tr><td>${nameCell(label, dimension, query)}${share(group.spend, report.spend)}</td>
<td title="${exactDollars(group.spend)}">${dollars(group.spend)}</td><td class="optional">${shareText(group.spend, report.spend)}</td>
<td class="optional">${compact(group.requests)}</td><td>${compact(group.tokens?.total ?? null)}</td></tr>`;
  };
  const head = html`<thead><tr><th scope="col"><span class="muted">${dimension}</span></th><th scope="col">spent</th><th scope="col" class="optional">share</th><th scope="col" class="optional">requests</th><th scope="col">tokens</th></tr></thead>`;
  const rest = report.groups.slice(shownRows);
  return html`<section class="card">${title}
<table>${head}<tbody>${report.groups.slice(0, shownRows).map(row)}</tbody></table>
${rest.length > 0 && html`<details><summary>${count(rest.length)} more</summary><table>${head}<tbody>${rest.map(row)}</tbody></table></details>`}</section>`;
}
