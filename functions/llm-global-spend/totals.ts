import type { PicoUsd } from '#shared/money.ts';
import { type Day, type DayWindow, firstOfMonth, toMonthWindows } from './days.ts';
import type { Totals } from './report/report.ts';

export interface DaySpend {
  day: Day;
  spend: PicoUsd;
}

/** Days after `today` count nowhere: they are the padding of an answer, or a clock that runs ahead. */
export function sumTotals(days: Iterable<DaySpend>, today: Day): Totals {
  const totals = { global: 0n, currentMonth: 0n, today: 0n };
  for (const { day, spend } of days) {
    if (day > today) continue;
    totals.global += spend;
    if (day >= firstOfMonth(today)) totals.currentMonth += spend;
    if (day === today) totals.today += spend;
  }
  return totals;
}

export interface ReadTotalsOptions {
  readDays: (window: DayWindow, signal: AbortSignal) => Promise<DaySpend[]>;
  /** The first day that can have spend. */
  epoch: Day;
  today: Day;
  signal: AbortSignal;
  /** Windows that are read at the same time. */
  concurrency?: number;
}

/**
 * Reads month by month, a few at a time: up to 1.79 LiteLLM loads every request of a window into its memory, and a month
 * that fails is tried again alone. The first failure ends the rest.
 */
export async function readTotals(options: ReadTotalsOptions): Promise<Totals> {
  const { readDays, epoch, today, concurrency = 4 } = options;
  const pending = toMonthWindows(epoch, today).values();
  const days: DaySpend[] = [];
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);

  async function work() {
    // The workers share one iterator, so each window is taken once.
    for (const window of pending) {
      signal.throwIfAborted();
      days.push(...(await readDays(window, signal)));
    }
  }

  try {
    await Promise.all(Array.from({ length: concurrency }, work));
  } catch (error) {
    failed.abort(error);
    throw error;
  }
  return sumTotals(days, today);
}
