import { HttpError } from '#shared/errors.ts';
import type { PicoUsd } from '#shared/money.ts';
import { type Day, nextDay, toDay } from '../days.ts';
import { type DaySpend, readTotals } from '../totals.ts';
import type { SpendQuery } from './query.ts';
import type { Reports, SpendReport } from './report.ts';

export interface ReportsOptions {
  litellm: { spendByDay(window: { start: Day; end: Day; signal?: AbortSignal }): Promise<DaySpend[]> };
  epoch: Day;
  now: () => Date;
}

/** Reports from the summary by day. */
export function createReports({ litellm, epoch, now }: ReportsOptions): Reports {
  return {
    totals: ({ signal }) =>
      readTotals({
        readDays: (window, windowSignal) => litellm.spendByDay({ ...window, signal: windowSignal }),
        epoch,
        // Read once: a call across midnight belongs to the day on which it began.
        today: toDay(now()),
        signal,
      }),

    async read(query: SpendQuery, { signal }): Promise<SpendReport> {
      const { startDate, endDate, groupBy } = query;
      if (Object.keys(query.filters).length > 0 || groupBy.some((name) => name !== 'day' && name !== 'month')) {
        throw new HttpError(422, 'The summary by day has days and months only', { code: 'unsupported_by_source' });
      }
      const days = await litellm.spendByDay({ start: startDate, end: nextDay(endDate), signal });
      const unknown = { requests: null, tokens: null };
      const sums = new Map<string, { by: SpendReport['groups'][number]['by']; spend: PicoUsd }>();
      for (const { day, spend } of days) {
        const labels = { day: { id: day, name: day }, month: { id: day.slice(0, 7), name: day.slice(0, 7) } };
        const by = Object.fromEntries(groupBy.map((name) => [name, labels[name as 'day']]));
        const key = Object.values(by)
          .map(({ id }) => id)
          .join(' ');
        const sum = sums.get(key) ?? { by, spend: 0n };
        sum.spend += spend;
        sums.set(key, sum);
      }
      const groups = groupBy.length === 0 ? [] : [...sums.values()].map((sum) => ({ ...sum, ...unknown }));
      return {
        window: { startDate, endDate, timezone: 'UTC' },
        groupBy,
        spend: days.reduce((sum, { spend }) => sum + spend, 0n),
        ...unknown,
        groups: groups.sort((left, right) => (left.spend < right.spend ? 1 : -1)),
        source: 'spend_logs_summary',
        complete: query.timezone === 'UTC',
        notes: [],
      };
    },
  };
}
