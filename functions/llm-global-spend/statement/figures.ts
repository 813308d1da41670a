import { createHash } from 'node:crypto';
import { HttpError } from '#shared/errors.ts';
import { formatUsd, type PicoUsd, parseUsd } from '#shared/money.ts';
import { floatNoise } from '../cells/cell.ts';
import { type Day, toDay } from '../days.ts';
import { foldGroups } from '../report/fold.ts';
import { type Amounts, type Label, type Note, type Reports, type SpendReport, toQuery } from '../report/report.ts';

export const statementTables = ['team', 'user', 'key', 'provider', 'day'] as const;
export type StatementTable = (typeof statementTables)[number];

/** Money is an exact decimal string; requests and tokens are null where LiteLLM does not tell them. */
export interface StatementAmounts {
  spend_usd: string;
  requests: number | null;
  input_tokens: number | null;
  output_tokens: number | null;
  total_tokens: number | null;
}

export interface StatementLine extends StatementAmounts {
  id: string;
  name: string;
}

/** What a month cost, as JSON: what is frozen, and what a later reading is compared with. */
export interface Figures {
  month: string;
  start_date: Day;
  end_date: Day;
  total: StatementAmounts;
  tables: Partial<Record<StatementTable, StatementLine[]>>;
  /** Why a table is missing: this LiteLLM is too old to know it. */
  unavailable: Partial<Record<StatementTable, string>>;
  source: string;
}

/** First and last day of a month as YYYY-MM. */
export function toMonthDays(month: string): { startDate: Day; endDate: Day } {
  const [year, number] = [Number(month.slice(0, 4)), Number(month.slice(5, 7))];
  return { startDate: `${month}-01`, endDate: toDay(new Date(Date.UTC(year, number, 0))) };
}

/** Equal but for the order in which LiteLLM summed its floats. */
const isSame = (left: PicoUsd, right: PicoUsd) => left - right <= floatNoise && right - left <= floatNoise;

const toAmounts = ({ spend, requests, tokens }: Amounts): StatementAmounts => ({
  spend_usd: formatUsd(spend),
  requests,
  input_tokens: tokens?.input ?? null,
  output_tokens: tokens?.output ?? null,
  total_tokens: tokens?.total ?? null,
});

/** Days in their order, all else by spend; equal spends by id, so that the same figures are the same text. */
function toLines(table: StatementTable, report: SpendReport): StatementLine[] {
  const order = (left: string, right: string) => (left < right ? -1 : left > right ? 1 : 0);
  const lines = foldGroups(table, report.groups).toSorted((left, right) => {
    if (table === 'day' || left.spend === right.spend) return order(left.id, right.id);
    return left.spend < right.spend ? 1 : -1;
  });
  return lines.map(({ id, name, ...amounts }) => ({ id, name, ...toAmounts(amounts) }));
}

/**
 * Reads a month from LiteLLM itself and not from what was remembered, which could not show a later change. `complete` is
 * false, with the reasons, where something is known to be missing.
 */
export async function readFigures(
  month: string,
  { reports, signal }: { reports: Pick<Reports, 'read'>; signal: AbortSignal },
): Promise<{ figures: Figures; complete: boolean; notes: Note[] }> {
  const days = toMonthDays(month);
  const read = (groupBy: StatementTable[]) => reports.read(toQuery({ ...days, groupBy, refresh: true }), { signal });
  const byDay = await read(['day']);
  const all = [byDay];
  const figures: Figures = {
    month,
    start_date: days.startDate,
    end_date: days.endDate,
    total: toAmounts(byDay),
    tables: {},
    unavailable: {},
    source: byDay.source,
  };
  figures.tables.day = toLines('day', byDay);

  /** False where this LiteLLM is too old to tell these. */
  async function addTables(groupBy: ('team' | 'user' | 'key' | 'provider')[]): Promise<boolean> {
    try {
      const report = await read(groupBy);
      all.push(report);
      for (const table of groupBy) figures.tables[table] = toLines(table, report);
      return true;
    } catch (error) {
      if (!(error instanceof HttpError && error.code === 'unsupported_by_source')) throw error;
      for (const table of groupBy) figures.unavailable[table] = error.message;
      return false;
    }
  }
  // Asked for users alone, LiteLLM's summary is the cheapest answer, and it has no tokens.
  if (!(await addTables(['team', 'user']))) {
    figures.unavailable = {};
    await addTables(['team']);
    await addTables(['user']);
  }
  await addTables(['key']);
  await addTables(['provider']);
  const notes = new Map(all.flatMap((report) => report.notes).map((note) => [note.message, note]));
  const isOneReading = all.every(({ spend }) => isSame(spend, byDay.spend));
  if (!isOneReading)
    notes.set('moved', { code: 'moved', message: 'The spend of this month changed while it was read' });
  return { figures, complete: isOneReading && all.every(({ complete }) => complete), notes: [...notes.values()] };
}

/** Over the figures as they are written: whoever has the JSON of a statement can make it again. */
export const toChecksum = (figures: Figures) =>
  `sha256:${createHash('sha256').update(JSON.stringify(figures)).digest('hex')}`;

/** A line that is no longer what was issued. Differences are now less issued. */
export interface Adjustment {
  table: StatementTable | 'total';
  id: string;
  name: string;
  issued_usd: string;
  now_usd: string;
  difference_usd: string;
  difference_requests: number | null;
  difference_tokens: number | null;
}

const nothing: StatementAmounts = { spend_usd: '0', requests: 0, input_tokens: 0, output_tokens: 0, total_tokens: 0 };
const less = (now: number | null, issued: number | null) => (now === null || issued === null ? null : now - issued);

/** What changed since the issue: the total first, then each line. A table that only one of both has is left out. */
export function toAdjustments(issued: Figures, now: Figures): Adjustment[] {
  const compare = (
    table: Adjustment['table'],
    { id, name }: Label,
    before: StatementAmounts = nothing,
    after: StatementAmounts = nothing,
  ): Adjustment[] => {
    const difference = parseUsd(after.spend_usd) - parseUsd(before.spend_usd);
    const requests = less(after.requests, before.requests);
    const tokens = less(after.total_tokens, before.total_tokens);
    if (isSame(difference, 0n) && !requests && !tokens) return [];
    return [
      {
        table,
        id,
        name,
        issued_usd: before.spend_usd,
        now_usd: after.spend_usd,
        difference_usd: formatUsd(difference),
        difference_requests: requests,
        difference_tokens: tokens,
      },
    ];
  };
  const lines = statementTables.flatMap((table) => {
    const [before, after] = [issued.tables[table], now.tables[table]];
    if (before === undefined || after === undefined) return [];
    const known = new Map(before.map((line) => [line.id, line]));
    const current = new Map(after.map((line) => [line.id, line]));
    const labels = [...before, ...after.filter(({ id }) => !known.has(id))];
    return labels.flatMap((label) => compare(table, label, known.get(label.id), current.get(label.id)));
  });
  return [...compare('total', { id: '', name: 'total' }, issued.total, now.total), ...lines];
}
