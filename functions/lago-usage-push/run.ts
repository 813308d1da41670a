import type { LagoClient, LagoEvent } from '#shared/clients/lago.ts';
import { HttpError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import type { Store } from '#shared/store/store.ts';
import {
  type ChargeBy,
  findSkipReason,
  findSubscription,
  toLagoEvent,
  toTransactionId,
  toUnmappedKey,
  type UsageRow,
} from './event.ts';
import { pushEvents } from './push.ts';
import { createReport, type Report, type RunSummary } from './report.ts';
import { readState, type State, writeState } from './state.ts';
import { findWindow, sliceByDay, type Window } from './window.ts';

export interface RunOptions {
  litellm: { spendRows(window: { from: Date; to: Date; signal?: AbortSignal }): AsyncIterable<UsageRow> };
  lago: LagoClient;
  store: Pick<Store, 'kv' | 'lease'>;
  /** Which pair of systems the mark belongs to. */
  stateKey: string;
  code: string;
  chargeBy: ChargeBy;
  /** ms since 1970; without it every run is a dry run over the last day. */
  billFrom: number | undefined;
  overlapMs: number;
  lagMs: number;
  now?: () => number;
}

export type Run = (call: { dryRun: boolean; log: Logger; signal?: AbortSignal }) => Promise<RunSummary>;

interface Billed {
  row: UsageRow;
  event: LagoEvent;
}

const dayMs = 24 * 60 * 60 * 1000;
const leaseMs = 10 * 60 * 1000;
const inFlight = 3;

/** Sorts the rows of a slice into what is billed and what is not; a row that an earlier run dealt with stays out. */
async function readSlice(
  { litellm, code, chargeBy }: RunOptions,
  slice: Window,
  context: { report: Report; seen: State['seen']; signal?: AbortSignal | undefined },
): Promise<Billed[]> {
  const { report, seen, signal } = context;
  const billed: Billed[] = [];
  const window = { from: new Date(slice.from), to: new Date(slice.to), ...(signal === undefined ? {} : { signal }) };
  for await (const row of litellm.spendRows(window)) {
    report.counts.rows += 1;
    const subscription = findSubscription(row, chargeBy);
    const skipReason = findSkipReason(row);
    const key =
      subscription === undefined ? toUnmappedKey(row.requestId) : toTransactionId(subscription, row.requestId);
    if (skipReason !== undefined) report.skipped[skipReason] += 1;
    else if (seen.has(key)) report.skipped.done_before += 1;
    else if (subscription !== undefined) billed.push({ row, event: toLagoEvent(row, subscription, code) });
    else {
      report.addUnmapped(row);
      seen.set(key, row.startTime.getTime());
    }
  }
  return billed;
}

/** Pushes one slice and notes each event's fate; resolves with the start of the first row that was not delivered. */
async function pushSlice(
  lago: LagoClient,
  billed: Billed[],
  context: { report: Report; seen: State['seen']; signal?: AbortSignal | undefined },
): Promise<{ undelivered: number; failure: unknown }> {
  const { report, seen, signal } = context;
  const events = billed.map(({ event }) => event);
  const { sent, alreadyThere, rejected, failure } = await pushEvents(lago, events, { inFlight, signal });
  report.counts.sent += sent.size;
  report.counts.already_there += alreadyThere.size;
  let undelivered = Number.POSITIVE_INFINITY;
  for (const { row, event } of billed) {
    const { transaction_id: id, external_subscription_id: subscription } = event;
    const startedAt = row.startTime.getTime();
    if (sent.has(id) || alreadyThere.has(id)) {
      seen.set(id, startedAt);
      continue;
    }
    undelivered = Math.min(undelivered, startedAt);
    const reason = rejected.get(id);
    if (reason === undefined) continue;
    report.rejected.push({
      transaction_id: id,
      request_id: row.requestId,
      external_subscription_id: subscription,
      response_cost: event.properties.response_cost ?? '',
      reason,
    });
  }
  return { undelivered, failure };
}

/**
 * Bills what LiteLLM logged since the last run, day by day. The mark never passes a row that Lago does not have, and is
 * written with each day, so a run that fails half way goes on where it stopped. A dry run sends and marks nothing.
 * Throws HttpError 409 `run_in_progress`, and UpstreamError of LiteLLM or Lago after noting what was delivered.
 */
export function createRun(options: RunOptions): Run {
  const { lago, store, chargeBy, overlapMs, lagMs, now = Date.now } = options;

  async function work(call: Parameters<Run>[0], dryRun: boolean, keepLease: () => Promise<void>): Promise<RunSummary> {
    const { signal, log } = call;
    const state = await readState(store.kv, options.stateKey);
    const billFrom = options.billFrom ?? now() - lagMs - dayMs;
    const window = findWindow({ now: now(), billFrom, mark: state.mark, overlapMs, lagMs });
    const report = createReport({ window, chargeBy, dryRun });
    const context = { report, seen: state.seen, signal };
    let held = Number.POSITIVE_INFINITY;
    for (const slice of sliceByDay(window)) {
      await keepLease();
      const billed = await readSlice(options, slice, context);
      if (dryRun) {
        for (const { row } of billed) report.addWouldSend(row);
        continue;
      }
      const { undelivered, failure } = await pushSlice(lago, billed, context);
      held = Math.min(held, undelivered);
      // The overlap is read again before the mark: its days do not set the mark back, an undelivered row there does.
      state.mark = Math.min(Math.max(state.mark ?? slice.to, slice.to), held);
      await writeState(store.kv, options.stateKey, state, overlapMs);
      if (failure !== undefined) {
        log.warn('the push stopped; the next run goes on at the mark', { summary: report.summarize(state.mark) });
        throw failure;
      }
    }
    const summary = report.summarize(state.mark);
    if (summary.rejected.length > 0) log.error('Lago rejected events', { rejected: summary.rejected });
    if (summary.unmapped.length > 0) log.warn('usage without a payer', { unmapped: summary.unmapped });
    return summary;
  }

  return async (call) => {
    if (call.dryRun || options.billFrom === undefined) return work(call, true, async () => undefined);
    const lease = await store.lease('run', leaseMs);
    if (lease === null) {
      throw new HttpError(409, 'Another run is at work: its summary tells what it did', { code: 'run_in_progress' });
    }
    try {
      return await work(call, false, async () => {
        if (await lease.renew()) return;
        throw new HttpError(409, 'The run took longer than its lease and stopped', { code: 'lease_lost' });
      });
    } finally {
      await lease.release();
    }
  };
}
