import type { FunctionResponse } from '#shared/http/function.ts';
import { html, type Markup } from '#shared/http/html.ts';
import { parseUsd } from '#shared/money.ts';
import { compact, count, dollars, exactDollars, longDay, longMonth } from '../page/format.ts';
import { renderNotes, shell } from '../page/page.ts';
import { type Figures, type StatementAmounts, type StatementTable, statementTables } from './figures.ts';
import type { Statement } from './issue.ts';

const titles: Record<StatementTable, string> = {
  team: 'By team',
  user: 'By user',
  key: 'By key',
  provider: 'By provider',
  day: 'By day',
};

const money = (usd: string) => html`<td title="${exactDollars(parseUsd(usd))}">${dollars(parseUsd(usd))}</td>`;

const amounts = (line: StatementAmounts) =>
  html`${money(line.spend_usd)}<td class="optional">${count(line.requests)}</td><td class="optional">${compact(line.input_tokens)}</td><td class="optional">${compact(line.output_tokens)}</td><td>${compact(line.total_tokens)}</td>`;

function renderTable(table: StatementTable, { tables, unavailable, total }: Figures): Markup {
  const lines = tables[table];
  const title = html`<div class="head"><h2>${titles[table]}</h2></div>`;
  if (lines === undefined)
    return html`<section class="card">${title}<p class="muted">${unavailable[table]}</p></section>`;
  const name = (line: { id: string; name: string }) => {
    if (table === 'day') return longDay(line.id);
    if (line.id === '') return html`<span class="muted">no ${table}</span>`;
    return html`${line.name}${line.name !== line.id && html`<small><code>${line.id}</code></small>`}`;
  };
  return html`<section class="card">${title}<table>
<thead><tr><th scope="col">${table}</th><th scope="col">spent</th><th scope="col" class="optional">requests</th><th scope="col" class="optional">input</th><th scope="col" class="optional">output</th><th scope="col">tokens</th></tr></thead>
<tbody>${lines.map((line) => html`<tr><td>${name(line)}</td>${amounts(line)}</tr>`)}</tbody>
<tfoot><tr><td>Total</td>${amounts(total)}</tr></tfoot></table></section>`;
}

function signed(usd: string): string {
  const value = parseUsd(usd);
  return value > 0n ? `+${dollars(value)}` : dollars(value);
}

function renderAdjustments({ adjustments }: Statement): Markup | false {
  if (adjustments === null || adjustments.length === 0) return false;
  return html`<section class="card" id="adjustments"><div class="head"><h2>Adjustments since the issue</h2><span class="muted">The statement below stays as it was issued.</span></div>
<table><thead><tr><th scope="col">of</th><th scope="col" class="optional">issued</th><th scope="col" class="optional">now</th><th scope="col">difference</th><th scope="col">tokens</th></tr></thead>
<tbody>${adjustments.map((line) => html`<tr><td>${line.table === 'total' ? 'Total' : html`${line.table}: ${line.name || `no ${line.table}`}`}</td><td class="optional">${dollars(parseUsd(line.issued_usd))}</td><td class="optional">${dollars(parseUsd(line.now_usd))}</td><td title="${line.difference_usd} USD">${signed(line.difference_usd)}</td><td>${compact(line.difference_tokens)}</td></tr>`)}</tbody></table></section>`;
}

const shiftMonth = (month: string, by: number) =>
  new Date(Date.UTC(Number(month.slice(0, 4)), Number(month.slice(5, 7)) - 1 + by, 1)).toISOString().slice(0, 7);

/** `isView`: it was asked for as `/?view=statement`, and its links must stay there. */
export function renderStatement(
  statement: Statement,
  { latest, isView }: { latest: string; isView: boolean },
): FunctionResponse {
  const { figures, status, issuedAt, checksum, notes } = statement;
  const { month, total } = figures;
  const link = (parameters: Record<string, string>) =>
    `?${new URLSearchParams({ ...(isView ? { view: 'statement' } : {}), ...parameters })}`;
  const [earlier, later] = [shiftMonth(month, -1), shiftMonth(month, 1)];
  const issued = issuedAt === null ? 'not yet' : `${issuedAt.slice(0, 16).replace('T', ' ')} UTC`;
  return shell(
    200,
    `LLM statement · ${longMonth(month)}`,
    html`<main>
<header><h1>Statement of ${longMonth(month)}</h1><nav><a href="${isView ? '?' : './'}">Spend</a><a href="${link({ month, format: 'csv' })}">CSV</a><a href="${link({ month, format: 'json' })}">JSON</a></nav></header>
<nav class="chips" aria-label="Month">${earlier >= '2020-01' && html`<a href="${link({ month: earlier })}">← ${longMonth(earlier)}</a>`}${later <= latest && html`<a href="${link({ month: later })}">${longMonth(later)} →</a>`}</nav>
${renderNotes(status === 'draft' ? 'A draft, not a statement' : 'Note', notes)}
<section class="card"><div class="tile"><span>LLM usage, ${longDay(figures.start_date)} to ${longDay(figures.end_date)}, UTC</span><b title="${total.spend_usd} USD">${dollars(parseUsd(total.spend_usd))}</b></div>
<dl class="facts"><dt>Exactly</dt><dd>${total.spend_usd} USD</dd><dt>Requests</dt><dd>${count(total.requests)}</dd><dt>Tokens</dt><dd>${count(total.total_tokens)} (${compact(total.input_tokens)} in, ${compact(total.output_tokens)} out)</dd><dt>Issued</dt><dd>${issued}</dd><dt>Checksum</dt><dd><code>${checksum}</code></dd></dl></section>
${renderAdjustments(statement)}
${statementTables.map((table) => renderTable(table, figures))}
<footer><p>Read from LiteLLM (${figures.source}). ${status === 'issued' ? 'Frozen at its first issue: what changed since stands under adjustments.' : 'It is frozen when it is complete.'}</p></footer>
</main>`,
  );
}
