import { formatUsd } from '#shared/money.ts';
import { type HoldReason, type SkipReason, skipReasons } from '../billing/decide.ts';
import { type Call, spendOf } from '../calls/call.ts';
import { addHeld, type HeldCall, type HeldSum } from '../delivery/held.ts';
import type { LateDelta } from './rollup.ts';
import type { Window } from './window.ts';

export interface DeadEvent {
  transaction_id: string;
  request_id: string;
  external_subscription_id: string;
  cost_usd: string;
  reason: string;
}

/** The answer of a run, in the words of the wire. */
export interface RunSummary {
  dry_run: boolean;
  window: { from: string; to: string };
  /** False: time was up, and the next run goes on. */
  complete: boolean;
  /** Rows read from LiteLLM, and calls taken from the inbox. */
  rows: number;
  inbox: number;
  /** Events, which are several a call in the mode `tokens`. */
  sent: number;
  already_there: number;
  /** Events that Lago refused in this run; they are kept as dead letters. */
  dead: DeadEvent[];
  /** All usage that waits for a payer, and all that waits for another reason. */
  unmapped: HeldSum[];
  held: HeldSum[];
  skipped: Record<SkipReason, number>;
  /** Events that a Lago of 1.32.4 to 1.38 stored and does not process: to be looked into. */
  unprocessed: string[];
  late_deltas: LateDelta[];
  /** Of a dry run: what would be sent. */
  would_send?: { events: number; spend_usd: string };
  next_mark: string | null;
}

const unmappedReasons: readonly string[] = ['no_payer', 'not_in_map', 'untrusted_payer'] satisfies HoldReason[];
const shownDead = 100;

/** Adds up a run call by call. */
export function createReport({ dryRun }: { dryRun: boolean }) {
  const counts = { rows: 0, inbox: 0, sent: 0, already_there: 0 };
  const skipped = Object.fromEntries(skipReasons.map((reason) => [reason, 0])) as Record<SkipReason, number>;
  const dead: DeadEvent[] = [];
  const deadCount = { total: 0 };
  const held: HeldSum[] = [];
  const unprocessed: string[] = [];
  const lateDeltas: LateDelta[] = [];
  const wouldSend = { events: 0, spend: 0n };

  return {
    dryRun,
    counts,
    skipped,
    unprocessed,
    lateDeltas,
    deadCount,
    addDead(event: DeadEvent) {
      deadCount.total += 1;
      if (dead.length < shownDead) dead.push(event);
    },
    /** Of a dry run, which holds nothing in the store. */
    addHeld: (call: HeldCall) => addHeld(held, call),
    addWouldSend(call: Call, events: number) {
      wouldSend.events += events;
      wouldSend.spend += spendOf(call);
    },
    summarize(end: { window: Window; complete: boolean; mark: number | undefined; held: HeldSum[] }): RunSummary {
      const sums = dryRun ? held : end.held;
      return {
        dry_run: dryRun,
        window: { from: new Date(end.window.from).toISOString(), to: new Date(end.window.to).toISOString() },
        complete: end.complete,
        ...counts,
        dead,
        unmapped: sums.filter(({ reason }) => unmappedReasons.includes(reason)),
        held: sums.filter(({ reason }) => !unmappedReasons.includes(reason)),
        skipped,
        unprocessed,
        late_deltas: lateDeltas,
        ...(dryRun ? { would_send: { events: wouldSend.events, spend_usd: formatUsd(wouldSend.spend) } } : {}),
        next_mark: end.mark === undefined ? null : new Date(end.mark).toISOString(),
      };
    },
  };
}

export type Report = ReturnType<typeof createReport>;
