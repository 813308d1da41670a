import { type Day, toDay } from '../days.ts';
import type { PeriodKind } from './budget.ts';

/** One day, week or month of UTC. */
export interface Period {
  kind: PeriodKind;
  /** Both inclusive. */
  startDate: Day;
  endDate: Day;
  /** Half-open, ms since 1970. */
  startMs: number;
  endMs: number;
}

/** The period that a moment lies in. Weeks begin on Monday. */
export function toPeriod(kind: PeriodKind, moment: Date): Period {
  const [year, month, date] = [moment.getUTCFullYear(), moment.getUTCMonth(), moment.getUTCDate()];
  const sinceMonday = (moment.getUTCDay() + 6) % 7;
  const [startMs, endMs] = {
    day: () => [Date.UTC(year, month, date), Date.UTC(year, month, date + 1)],
    week: () => [Date.UTC(year, month, date - sinceMonday), Date.UTC(year, month, date - sinceMonday + 7)],
    month: () => [Date.UTC(year, month, 1), Date.UTC(year, month + 1, 1)],
  }[kind]() as [number, number];
  return { kind, startDate: toDay(new Date(startMs)), endDate: toDay(new Date(endMs - 1)), startMs, endMs };
}

export const previousPeriod = ({ kind, startMs }: Period): Period => toPeriod(kind, new Date(startMs - 1));
