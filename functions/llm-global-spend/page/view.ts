import { HttpError } from '#shared/errors.ts';
import type { Budgets } from '../budgets/check.ts';
import type { BudgetState } from '../budgets/state.ts';
import { type Day, nextDay, toDayIn } from '../days.ts';
import { createReadPart } from '../parts.ts';
import { foldGroups } from '../report/fold.ts';
import type { Dimension, SpendQuery } from '../report/query.ts';
import type { Note, Reports, SpendReport, Totals } from '../report/report.ts';
import { maxDayColumns } from './series.ts';

export type TableDimension = 'model' | 'team' | 'user' | 'key';

/** Everything that the page shows. */
export interface SpendView {
  query: SpendQuery;
  today: Day;
  totals: Totals;
  /** By day and model; by month and model in a long window; without models where the source cannot tell both. */
  chart: SpendReport;
  /** A sentence where it cannot be told: LiteLLM is too old to know it, or needed too long. */
  tables: Record<TableDimension, SpendReport | string>;
  /** None while the page is held to one team, user, key or model. */
  budgets: BudgetState[];
  notes: Note[];
}

export interface ViewOptions {
  reports: Reports;
  budgets: Pick<Budgets, 'states'>;
  now: Date;
  signal: AbortSignal;
  /** What tables and budgets may take, below the whole page's deadline: the rest is shown without the late ones. */
  partsMs: number;
}

const isUnsupported = (error: unknown): error is HttpError =>
  error instanceof HttpError && error.code === 'unsupported_by_source';

function isLong({ startDate, endDate }: SpendQuery): boolean {
  let day = startDate;
  for (let count = 0; count < maxDayColumns; count++) {
    if (day >= endDate) return false;
    day = nextDay(day);
  }
  return true;
}

export async function readView(
  query: SpendQuery,
  { reports, budgets, now, signal, partsMs }: ViewOptions,
): Promise<SpendView> {
  const context = { signal };
  const read = (groupBy: Dimension[]) => reports.read({ ...query, groupBy }, context);
  const time = isLong(query) ? 'month' : 'day';

  async function readChart() {
    try {
      return await read([time, 'model']);
    } catch (error) {
      if (isUnsupported(error)) return read([time]);
      throw error;
    }
  }
  const readPart = createReadPart(signal, partsMs);
  const readTable = (dimension: TableDimension) =>
    readPart((parts) => reports.read({ ...query, groupBy: [dimension] }, { signal: parts }));
  /** LiteLLM's summary has money alone; single requests, which teams need anyway, have all, where they are there in time. */
  async function readUsers(): Promise<SpendReport | string> {
    const [alone, both] = await Promise.all([
      readTable('user'),
      readPart((parts) => reports.read({ ...query, groupBy: ['team', 'user'] }, { signal: parts })),
    ]);
    if (typeof both === 'string' || (typeof alone !== 'string' && alone.tokens !== null)) return alone;
    const groups = foldGroups('user', both.groups)
      .map(({ id, name, ...amounts }) => ({ by: { user: { id, name } }, ...amounts }))
      .sort((left, right) => (left.spend < right.spend ? 1 : -1));
    return { ...both, groupBy: ['user'], groups };
  }
  const isFiltered = Object.keys(query.filters).length > 0;
  const [totals, chart, model, team, user, key, states] = await Promise.all([
    reports.totals(context),
    readChart(),
    ...([readTable('model'), readTable('team'), readUsers(), readTable('key')] as const),
    isFiltered ? [] : readPart((parts) => budgets.states(parts)),
  ]);
  // What a table does not tell (the tokens of users, say) shows in it; what it lacks has to be said.
  const lacking = [model, team, user, key].filter((report) => typeof report !== 'string' && !report.complete);
  const reported = [chart, ...(lacking as SpendReport[])];
  const ofTotals = totals.complete
    ? []
    : totals.notes.map(({ code, message }) => ({ code, message: `Ever: ${message}` }));
  const late = typeof states === 'string' ? [{ code: 'budgets_unknown', message: `Budgets: ${states}` }] : [];
  const notes = new Map(reported.flatMap((report) => report.notes).map((note) => [note.message, note]));
  return {
    query,
    today: toDayIn(now, query.timezone),
    totals,
    chart,
    tables: { model, team, user, key },
    budgets: typeof states === 'string' ? [] : states,
    notes: [...notes.values(), ...ofTotals, ...late],
  };
}
