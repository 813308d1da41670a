import type { PicoUsd } from '#shared/money.ts';
import { type Day, nextDay } from '../days.ts';
import type { SpendReport } from '../report/report.ts';
import { longDay, longMonth, shortDay, shortMonth } from './format.ts';

/** Above this many days the columns are months. */
export const maxDayColumns = 92;
// Eight hues are as many as an eye keeps apart; the smallest models share the last, grey one.
const maxSeries = 7;

export interface Series {
  name: string;
  /** 0 to 6 are hues, 7 is the grey of all others. */
  color: number;
  spend: PicoUsd;
}

export interface Column {
  /** 5 Nov */
  label: string;
  /** Thu, 5 Nov 2026 */
  title: string;
  spend: PicoUsd;
  /** By series, in their order. */
  parts: PicoUsd[];
}

export interface StackedDays {
  series: Series[];
  columns: Column[];
}

function toDays(start: Day, end: Day): Day[] {
  const days: Day[] = [];
  for (let day = start; day <= end; day = nextDay(day)) days.push(day);
  return days;
}

/**
 * A report by day (or month) and model as stacked columns: every day of the window, the largest models in series of their
 * own. A report by day alone is one series.
 */
export function toStackedDays({ groups, groupBy, window }: SpendReport): StackedDays {
  const isMonthly = groupBy.includes('month');
  const time = isMonthly ? 'month' : 'day';
  const days = toDays(window.startDate, window.endDate);
  const slots = isMonthly ? [...new Set(days.map((day) => day.slice(0, 7)))] : days;
  const spendOf = new Map<string, { name: string; spend: PicoUsd }>();
  for (const { by, spend } of groups) {
    const { id, name } = by.model ?? { id: 'all', name: 'everything' };
    const known = spendOf.get(id) ?? { name: name || 'no model', spend: 0n };
    known.spend += spend;
    spendOf.set(id, known);
  }
  const ranked = [...spendOf].sort(([, left], [, right]) => (left.spend < right.spend ? 1 : -1));
  const own = ranked.length > maxSeries + 1 ? ranked.slice(0, maxSeries) : ranked;
  const rest = ranked.slice(own.length);
  const seriesOf = new Map(own.map(([id], at) => [id, at]));
  const series: Series[] = own.map(([, { name, spend }], color) => ({ name, color, spend }));
  if (rest.length > 0) {
    const spend = rest.reduce((sum, [, one]) => sum + one.spend, 0n);
    series.push({ name: `${rest.length} others`, color: 7, spend });
  }
  const columns = new Map(
    slots.map((slot): [string, Column] => [
      slot,
      {
        label: isMonthly ? shortMonth(slot) : shortDay(slot),
        title: isMonthly ? longMonth(slot) : longDay(slot),
        spend: 0n,
        parts: series.map(() => 0n),
      },
    ]),
  );
  for (const { by, spend } of groups) {
    const column = columns.get(by[time]?.id ?? '');
    if (column === undefined) continue;
    const at = seriesOf.get(by.model?.id ?? 'all') ?? series.length - 1;
    column.parts[at] = (column.parts[at] ?? 0n) + spend;
    column.spend += spend;
  }
  return { series, columns: [...columns.values()] };
}
