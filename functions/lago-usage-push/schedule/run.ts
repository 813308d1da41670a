import { HttpError, UpstreamError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import type { Call } from '../calls/call.ts';
import type { Inbox } from '../delivery/inbox.ts';
import { toMark } from '../delivery/memory.ts';
import type { PushMetrics } from '../metrics.ts';
import { dropReasons } from '../preflight/judge.ts';
import { createReport, type Report, type RunSummary } from './report.ts';
import { type Session, type SessionOptions, withSession } from './session.ts';
import { type Progress, type ScheduleOptions, walkSchedule } from './sources.ts';
import { readState } from './state.ts';

export interface RunOptions extends ScheduleOptions, SessionOptions {
  inbox: Inbox;
  /** Changes when calls that are held may have a payer now. */
  rulesDigest: () => string;
  /** False: only what was pushed to us is billed. */
  hasSchedule: boolean;
  /** ms since 1970; without it every run is a dry run over the last day. */
  billFrom: number | undefined;
  /** How long a run may work: less than the platform's time-out. */
  runMs: number;
  /** Aborts when the process is about to end. */
  stop: AbortSignal;
  metrics: PushMetrics;
}

export type Run = (call: { dryRun: boolean; log: Logger; signal?: AbortSignal }) => Promise<RunSummary>;
/** Bills calls at once; resolves with what became of them, throws when one of them is not safe in Lago. */
export type PushNow = (calls: Call[], call: { log: Logger; signal?: AbortSignal }) => Promise<Report>;

const dayMs = 24 * 60 * 60 * 1000;
/** After its time is up a run still ends the group that it is at. */
const graceMs = 8_000;
const hourMs = 3_600_000;

/** Held calls are decided on anew when the rules have changed, after a kill, and hourly where Lago lacked something. */
async function replayHeld(options: RunOptions, session: Session, isTimeUp: () => boolean): Promise<boolean> {
  const { held, now, deliver } = options;
  const { state, context, save, followsKill } = session;
  const waitsForLago = state.held.sums.some(({ reason }) => (dropReasons as readonly string[]).includes(reason));
  const rules = `${options.rulesDigest()}${waitsForLago ? `-${Math.floor(now() / hourMs)}` : ''}`;
  if (state.held.replay === undefined) {
    if (state.held.rules === rules && !followsKill) return true;
    state.held.replay = { sums: [] };
  }
  // A kill between a call's entry and the state leaves it in two entries: it is one amount all the same.
  const seen = new Set<string>();
  for (;;) {
    const { calls, after } = await held.next(state.held);
    if (after === undefined) break;
    const once = calls.filter((call) => !seen.has(toMark(call)));
    for (const call of once) seen.add(toMark(call));
    await deliver(once, { ...context, isReplay: true });
    state.held.replay = { ...state.held.replay, after, sums: state.held.replay?.sums ?? [] };
    await save();
    if (isTimeUp()) return false;
  }
  await held.finish(state.held, now());
  state.held.rules = rules;
  await save();
  return true;
}

/** Bills what was pushed to us, entry by entry. */
async function drainInbox(options: RunOptions, session: Session, isTimeUp: () => boolean): Promise<boolean> {
  const { inbox, deliver } = options;
  const { state, context, save } = session;
  let billedAt: number | undefined;
  for (let entry = await inbox.next(state.inbox); entry !== undefined; entry = await inbox.next(state.inbox)) {
    context.report.counts.inbox += entry.calls.length;
    await deliver(entry.calls, context);
    state.inbox = entry.cursor;
    billedAt = entry.at;
    await save();
    if (isTimeUp()) break;
  }
  if (billedAt !== undefined) await inbox.forget(billedAt);
  return !isTimeUp();
}

/** Bills calls though they are remembered as done: they are known to be missing in Lago. */
export type Rebill = (calls: Call[], call: { log: Logger; signal?: AbortSignal }) => Promise<Report>;

/**
 * Bills what LiteLLM logged and what was pushed to us since the last run. A run that fails, or whose time is up, goes on
 * where it stopped. A dry run sends and notes nothing. Throws HttpError 409 `run_in_progress`, and UpstreamError of
 * LiteLLM or Lago after noting what was delivered.
 */
export function createRun(options: RunOptions): { run: Run; pushNow: PushNow; rebill: Rebill } {
  const { now, metrics, store } = options;
  const emptyWindow = () => ({ from: now(), to: now() });

  async function lookOnly(call: Parameters<Run>[0]): Promise<RunSummary> {
    const report = createReport({ dryRun: true });
    const state = await readState(store.kv, options.stateKey);
    const context = {
      report,
      log: call.log,
      isInDoubt: () => false,
      intend: async () => undefined,
      conclude: () => undefined,
      hold: async () => undefined,
      signal: call.signal,
    };
    const session = { state, context, followsKill: false, save: async () => undefined };
    const billFrom = options.billFrom ?? now() - options.lagMs - dayMs;
    const deadline = now() + options.runMs;
    const isTimeUp = () => now() >= deadline;
    const { window, complete } = options.hasSchedule
      ? await walkSchedule(options, { session, billFrom, isTimeUp })
      : { window: emptyWindow(), complete: true };
    return report.summarize({ window, complete, mark: state.window?.at ?? state.mark, held: [] });
  }

  async function work(call: Parameters<Run>[0], billFrom: number): Promise<RunSummary> {
    const { log } = call;
    const report = createReport({ dryRun: false });
    const deadline = now() + options.runMs;
    const isTimeUp = () => now() >= deadline;
    const hardStop = AbortSignal.timeout(options.runMs + graceMs);
    const signal = AbortSignal.any([hardStop, options.stop, ...(call.signal === undefined ? [] : [call.signal])]);
    let progress: Progress = { window: emptyWindow(), complete: false };

    const summarize = (session: Session) =>
      report.summarize({
        ...progress,
        mark: session.state.window?.at ?? session.state.mark,
        held: session.state.held.sums,
      });

    const { summary } = await withSession(options, { report, log, signal }, async (session) => {
      try {
        const isReplayed = await replayHeld(options, session, isTimeUp);
        const isDrained = await drainInbox(options, session, isTimeUp);
        if (!options.hasSchedule) progress = { window: emptyWindow(), complete: isReplayed && isDrained };
        else if (!isTimeUp()) progress = await walkSchedule(options, { session, billFrom, isTimeUp });
        const isEmpty = await drainInbox(options, session, isTimeUp);
        progress.complete &&= isReplayed && isDrained && isEmpty;
        return { summary: summarize(session), isSettled: progress.complete };
      } catch (error) {
        log.warn('the push stopped; the next run goes on where it was', { summary: summarize(session) });
        throw error;
      } finally {
        metrics.countRun(report, session.state.held.sums, session.state.window?.at ?? session.state.mark);
      }
    });
    if (summary.dead.length > 0) log.error('Lago refused events: see GET /dead-letters', { dead: summary.dead });
    if (summary.unprocessed.length > 0) log.error('Lago stored events unprocessed', { ids: summary.unprocessed });
    if (summary.unmapped.length > 0) log.warn('usage without a payer', { unmapped: summary.unmapped });
    if (summary.held.length > 0) log.warn('usage held back', { held: summary.held });
    if (summary.late_deltas.length > 0)
      log.warn('usage logged after its day was sent', { deltas: summary.late_deltas });
    return summary;
  }

  return {
    async run(call) {
      if (call.dryRun || options.billFrom === undefined) return lookOnly(call);
      try {
        const summary = await work(call, options.billFrom);
        metrics.countOutcome(summary.complete ? 'complete' : 'time_up');
        return summary;
      } catch (error) {
        metrics.countOutcome(error instanceof HttpError ? error.code : 'failed');
        throw error;
      }
    },

    async pushNow(calls, { log, signal }) {
      const report = createReport({ dryRun: false });
      let heldNow = 0;
      const ending = AbortSignal.any([options.stop, ...(signal === undefined ? [] : [signal])]);
      await withSession(options, { report, log, signal: ending, patienceMs: 10_000 }, async ({ context }) => {
        const hold = async (held: Parameters<typeof context.hold>[0]) => {
          heldNow += held.length;
          await context.hold(held);
        };
        await options.deliver(calls, { ...context, hold });
        return { isSettled: false };
      });
      if (heldNow + report.deadCount.total > 0) {
        log.error('usage that Lago does not have lies in a store that does not last', {
          held: heldNow,
          dead: report.deadCount.total,
        });
        const advice = 'it has not all of it: the store is no safe place without STORE_URL';
        throw new UpstreamError('Lago', 'invalid_response', 'calls were held or refused', { advice });
      }
      return report;
    },

    async rebill(calls, { log, signal }) {
      const report = createReport({ dryRun: false });
      await withSession(options, { report, log, signal, patienceMs: 10_000 }, async ({ context }) => {
        await options.deliver(calls, { ...context, isReplay: true });
        return { isSettled: false };
      });
      return report;
    },
  };
}
