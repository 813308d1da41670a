import type { SpendRow } from '#shared/clients/litellm.ts';
import type { BillingPeriod } from '../billing/period.ts';
import { fromRow } from '../calls/from-row.ts';
import type { Deliver } from '../delivery/deliver.ts';
import { findDueDays, type Rollup } from './rollup.ts';
import type { Session } from './session.ts';
import { chunk, findWindow, type Window } from './window.ts';

/** How many rows are billed and noted at once: what a run holds in memory, and what it repeats after a kill. */
const chunkRows = 1_000;
const dayMs = 24 * 60 * 60 * 1000;

export interface ScheduleOptions {
  litellm: { spendRows(window: { from: Date; to: Date; signal?: AbortSignal }): AsyncIterable<SpendRow> };
  /** Closed days instead of rows. */
  rollup: Rollup | undefined;
  overlapMs: number;
  lagMs: number;
  rollupDelayMs: number;
  period: BillingPeriod;
  deliver: Deliver;
  now: () => number;
}

export interface Progress {
  window: Window;
  /** False: time was up. */
  complete: boolean;
}

interface Walk {
  session: Session;
  billFrom: number;
  isTimeUp: () => boolean;
}

/**
 * Reads and bills a window of rows in groups, oldest first. A window that time cut short is gone on with by the next
 * run, to the end it had: what was logged meanwhile is found by the overlap before that end.
 */
async function walkRows(options: ScheduleOptions, { session, billFrom, isTimeUp }: Walk): Promise<Progress> {
  const { overlapMs, lagMs, now, deliver, litellm } = options;
  const { state, context, save } = session;
  const { report, signal } = context;
  const pending = state.window;
  const window =
    pending === undefined
      ? findWindow({ now: now(), billFrom, mark: state.mark, overlapMs, lagMs })
      : { from: Math.max(pending.at, billFrom), to: pending.to };
  const range = { from: new Date(window.from), to: new Date(window.to), ...(signal === undefined ? {} : { signal }) };
  for await (const rows of chunk(litellm.spendRows(range), chunkRows)) {
    report.counts.rows += rows.length;
    await deliver(rows.map(fromRow), context);
    if (report.dryRun) {
      if (isTimeUp()) return { window, complete: false };
      continue;
    }
    state.window = { at: rows.at(-1)?.startTime.getTime() ?? window.from, to: window.to };
    await save();
    if (isTimeUp()) return { window, complete: false };
  }
  if (report.dryRun) return { window, complete: true };
  delete state.window;
  state.mark = Math.max(state.mark ?? window.to, window.to);
  await save();
  // A window that was begun long ago ends long ago: what came since is read in the same run.
  if (pending === undefined || isTimeUp()) return { window, complete: pending === undefined };
  const rest = await walkRows(options, { session, billFrom, isTimeUp });
  return { window: { from: window.from, to: rest.window.to }, complete: rest.complete };
}

/** Bills the days that are due, one by one; none is begun before the whole of it lies after `billFrom`. */
async function walkDays(options: ScheduleOptions, rollup: Rollup, { session, billFrom, isTimeUp }: Walk) {
  const { period, rollupDelayMs: delayMs, lagMs, now, deliver } = options;
  const { state, context, save } = session;
  const { report, signal } = context;
  const from = Math.max(state.mark ?? 0, Math.ceil(billFrom / dayMs) * dayMs);
  let to = from;
  for (const day of findDueDays(from, now(), { period, delayMs, lagMs })) {
    const calls = await rollup.calls(day, signal, { isDryRun: report.dryRun });
    report.counts.rows += calls.length;
    await deliver(calls, context);
    to = day + dayMs;
    if (!report.dryRun) {
      state.mark = to;
      await save();
    }
    if (isTimeUp()) return { window: { from, to }, complete: false };
  }
  report.lateDeltas.push(...(await rollup.findDeltas(now(), signal)));
  return { window: { from, to }, complete: true };
}

/** What the schedule has to bill, by rows or by days. */
export const walkSchedule = (options: ScheduleOptions, walk: Walk): Promise<Progress> =>
  options.rollup === undefined ? walkRows(options, walk) : walkDays(options, options.rollup, walk);
