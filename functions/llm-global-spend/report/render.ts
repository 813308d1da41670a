import { formatUsd, usdToNumber } from '#shared/money.ts';
import type { Amounts, SpendReport, Totals } from './report.ts';

const toWireAmounts = ({ spend, requests, tokens }: Amounts) => ({ spend_usd: usdToNumber(spend), requests, tokens });

/** The JSON of a report. */
export const toWire = (report: SpendReport) => ({
  window: {
    start_date: report.window.startDate,
    end_date: report.window.endDate,
    timezone: report.window.timezone,
  },
  ...toWireAmounts(report),
  group_by: report.groupBy,
  groups: report.groups.map((group) => ({ ...group.by, ...toWireAmounts(group) })),
  source: report.source,
  complete: report.complete,
  notes: report.notes,
});

export const toWireTotals = ({ global, currentMonth, today }: Totals) => ({
  global_spend: usdToNumber(global),
  current_month_spend: usdToNumber(currentMonth),
  today_spend: usdToNumber(today),
});

/** A spreadsheet runs a cell that begins so (and is no number) as a formula, and anybody may name a key or an end user. */
const formula = /^[=+\-@\t\r](?!\d+(\.\d+)?$)/;

export function toCell(value: string | number | null): string {
  const text = value === null ? '' : String(value);
  const safe = formula.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export const toCsv = (rows: (string | number | null)[][]) =>
  rows.map((row) => `${row.map(toCell).join(',')}\r\n`).join('');

/** One line a group, an id and a name for each dimension; one line for the whole without groups. Money is exact. */
export function toReportCsv(report: SpendReport): string {
  const names = report.groupBy.flatMap((dimension) =>
    dimension === 'day' || dimension === 'month' ? [dimension] : [dimension, `${dimension}_name`],
  );
  const header = [...names, 'spend_usd', 'requests', 'input_tokens', 'output_tokens', 'total_tokens'];
  const amounts = ({ spend, requests, tokens }: Amounts) => [
    formatUsd(spend),
    requests,
    tokens?.input ?? null,
    tokens?.output ?? null,
    tokens?.total ?? null,
  ];
  const groups =
    report.groupBy.length === 0 ? [{ ...report, by: {} as SpendReport['groups'][number]['by'] }] : report.groups;
  const lines = groups.map((group) => [
    ...report.groupBy.flatMap((dimension) => {
      const { id, name } = group.by[dimension] ?? { id: '', name: '' };
      return dimension === 'day' || dimension === 'month' ? [id] : [id, name];
    }),
    ...amounts(group),
  ]);
  return toCsv([header, ...lines]);
}
