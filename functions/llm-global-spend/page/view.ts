import { HttpError } from '#shared/errors.ts';
import type { Budgets } from '../budgets/check.ts';
import type { BudgetState } from '../budgets/state.ts';
import { type Day, nextDay, toDayIn } from '../days.ts';
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
  /** A sentence where LiteLLM is too old to know spend by this. */
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

export async function readView(query: SpendQuery, { reports, budgets, now, signal }: ViewOptions): Promise<SpendView> {
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
  async function readTable(dimension: TableDimension) {
    try {
      return await read([dimension]);
    } catch (error) {
      if (isUnsupported(error)) return error.message;
      throw error;
    }
  }
  const isFiltered = Object.keys(query.filters).length > 0;
  const [totals, chart, model, team, user, key, states] = await Promise.all([
    reports.totals(context),
    readChart(),
    ...([readTable('model'), readTable('team'), readTable('user'), readTable('key')] as const),
    isFiltered ? [] : budgets.states(signal),
  ]);
  const reported = [chart, model, team, user, key].filter((report) => typeof report !== 'string');
  const notes = new Map(reported.flatMap((report) => report.notes).map((note) => [note.message, note]));
  return {
    query,
    today: toDayIn(now, query.timezone),
    totals,
    chart,
    tables: { model, team, user, key },
    budgets: states,
    notes: [...notes.values()],
  };
}
