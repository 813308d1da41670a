import type { LagoClient } from '#shared/clients/lago.ts';
import type { LagoLedgerClient, StoredEvent } from '#shared/clients/lago-ledger.ts';
import { UpstreamError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import type { BillingPeriod } from '../billing/period.ts';
import type { Call } from '../calls/call.ts';
import type { Preflight } from '../preflight/preflight.ts';
import type { Report } from '../schedule/report.ts';
import { type Comparison, compare, type Expected } from './compare.ts';
import { type LedgerOptions, type Owed, readLedger } from './ledger.ts';
import { createReconcileReport, type ReconcileReport } from './report.ts';

export interface ReconcileOptions extends LedgerOptions {
  ledger: Pick<LagoLedgerClient, 'listEvents'>;
  lago: Pick<LagoClient, 'findStored'>;
  preflight: Preflight | undefined;
  period: BillingPeriod;
  /** Whether usage of a closed period is billed in the next one. */
  billsLate: boolean;
  /** Bills calls though they are remembered as done. */
  rebill: (calls: Call[], call: { log: Logger; signal?: AbortSignal }) => Promise<Report>;
  runMs: number;
  now: () => number;
}

export interface Sent {
  calls: number;
  sent: number;
  already_there: number;
  dead: number;
}

const dayMs = 24 * 60 * 60 * 1000;
/** Calls of the end of a day whose copies by LiteLLM's callback may lie in the next. */
const tailMs = 15 * 60 * 1000;

function* eachDay(start: number, end: number): Generator<{ from: number; to: number }> {
  for (let from = start; from < end; ) {
    const to = Math.min(end, (Math.floor(from / dayMs) + 1) * dayMs);
    yield { from, to };
    from = to;
  }
}

/** The ledger of LiteLLM against Lago's, day by day. */
export function createReconcile(options: ReconcileOptions) {
  const { ledger: lagoLedger, lago, preflight, now } = options;

  /** What Lago has of a day; undefined where it cannot list. */
  async function list(window: { from: number; to: number }, signal: AbortSignal | undefined) {
    const range = { from: new Date(window.from), to: new Date(window.to), ...(signal === undefined ? {} : { signal }) };
    const found: StoredEvent[] = [];
    try {
      for await (const event of lagoLedger.listEvents(range)) found.push(event);
    } catch (error) {
      // GET /events came with 1.13.1.
      if (error instanceof UpstreamError && error.status === 404) return undefined;
      throw error;
    }
    return found;
  }

  /** Without a list, each event is asked for by its id: all that can be said then is whether it is there. */
  async function compareById(owed: Owed[], signal: AbortSignal | undefined): Promise<Comparison> {
    const stored = await lago.findStored(
      owed.flatMap(({ events }) => events),
      signal,
    );
    const expected = owed.flatMap((item) => item.expected);
    const toStored = (item: Expected): StoredEvent => ({
      transactionId: item.transactionId,
      subscription: item.subscription,
      code: item.code,
      at: new Date(item.at),
      arrivedAt: null,
      preciseCents: null,
      properties: { model: item.model, value: item.amount },
    });
    return compare(expected, expected.filter(({ transactionId: id }) => stored.has(id)).map(toStored));
  }

  /** Takes out of the missing what Lago has at another time, what came too late, and what Lago would not bill. */
  async function sortMissing(comparison: Comparison, owed: Owed[], signal: AbortSignal | undefined) {
    const missing = new Set(comparison.missing.map(({ transactionId }) => transactionId));
    const late = owed.filter(
      ({ isLate, events }) => isLate && events.some((event) => missing.has(event.transaction_id)),
    );
    const elsewhere = await lago.findStored(
      late.flatMap(({ events }) => events),
      signal,
    );
    const lateIds = new Set(late.flatMap(({ events }) => events.map((event) => event.transaction_id)));
    const tooLate: Expected[] = [];
    const blocked: { expected: Expected; reason: string }[] = [];
    const kept: Expected[] = [];
    const byId = new Map(owed.flatMap(({ events }) => events.map((event) => [event.transaction_id, event] as const)));
    for (const item of comparison.missing) {
      if (elsewhere.has(item.transactionId)) {
        const properties = { model: item.model, value: item.amount };
        const stored = { ...item, at: new Date(item.at), arrivedAt: null, preciseCents: null, properties };
        comparison.found.push({ expected: item, stored });
      } else if (lateIds.has(item.transactionId) && !options.billsLate) tooLate.push(item);
      else {
        const event = byId.get(item.transactionId);
        const finding = event === undefined ? undefined : await preflight?.(event);
        if (finding === undefined) kept.push(item);
        else blocked.push({ expected: item, reason: finding.reason });
      }
    }
    comparison.missing = kept;
    return { tooLate, blocked };
  }

  /** Compares [start, end). With `send` what is missing is billed; what is double is only told. */
  return async function reconcile(call: {
    start: number;
    end: number;
    send: boolean;
    log: Logger;
    signal?: AbortSignal;
  }): Promise<ReconcileReport & { sent?: Sent }> {
    const { start, end, signal, log } = call;
    const report = createReconcileReport({ start, end, period: options.period });
    const deadline = now() + options.runMs;
    const sent: Sent = { calls: 0, sent: 0, already_there: 0, dead: 0 };
    let listsEvents = true;
    let nextStart: number | undefined;
    let tail: Expected[] = [];
    for (const day of eachDay(start, end)) {
      if (now() >= deadline) {
        nextStart = day.from;
        break;
      }
      const ledger = await readLedger(options, { ...day, now: now(), signal });
      const expected = ledger.owed.flatMap((item) => item.expected);
      const stored = await list(day, signal);
      listsEvents &&= stored !== undefined;
      const comparison =
        stored === undefined ? await compareById(ledger.owed, signal) : compare(expected, stored, tail);
      const { tooLate, blocked } = await sortMissing(comparison, ledger.owed, signal);
      report.add({ ledger, comparison, tooLate, blocked });
      tail = expected.filter(({ at }) => at >= day.to - tailMs);
      if (!call.send || comparison.missing.length === 0) continue;
      const missing = new Set(comparison.missing.map(({ transactionId }) => transactionId));
      const calls = ledger.owed
        .filter(({ events }) => events.some((event) => missing.has(event.transaction_id)))
        .map((item) => item.call);
      const billed = await options.rebill(calls, { log, ...(signal === undefined ? {} : { signal }) });
      sent.calls += calls.length;
      sent.sent += billed.counts.sent;
      sent.already_there += billed.counts.already_there;
      sent.dead += billed.deadCount.total;
    }
    const summary = report.summarize({ nextStart, listsEvents });
    return call.send ? { ...summary, sent } : summary;
  };
}

export type Reconcile = ReturnType<typeof createReconcile>;
