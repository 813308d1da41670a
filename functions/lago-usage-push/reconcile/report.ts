import type { StoredEvent } from '#shared/clients/lago-ledger.ts';
import { type BillingPeriod, endOfPeriod } from '../billing/period.ts';
import { amountOf, type Comparison, type Double, type Expected, type Found } from './compare.ts';
import type { Ledger } from './ledger.ts';
import { createSum, type Sum } from './sums.ts';

/** Lago's billing job runs at ten past the hour: what arrived after it is stored and never billed. */
const closesAfterMs = 10 * 60 * 1000;
/** How many of each list are shown; the sums are of all. */
const maxShown = 100;

/** One subscription and model, on both sides. Amounts are what Lago adds up: money, or tokens. */
export interface Line {
  subscription: string;
  model: string;
  ledger: Sum;
  lago: Sum;
  missing: Sum;
  double: Sum;
  late: Sum;
}

export interface ReconcileReport {
  window: { start: string; end: string };
  /** False: time was up; go on at `next_start`. */
  complete: boolean;
  next_start: string | null;
  /** False: this Lago cannot list events, so that doubles and events of others are not seen. */
  lists_events: boolean;
  rows: number;
  skipped: Record<string, number>;
  held: { reason: string; rows: number }[];
  lines: Line[];
  missing: {
    total: number;
    shown: {
      transaction_id: string;
      request_id: string;
      external_subscription_id: string;
      amount: string;
      timestamp: string;
    }[];
  };
  double: {
    total: number;
    shown: {
      kind: Double['kind'];
      transaction_id: string;
      request_id: string;
      external_subscription_id: string;
      amount: string;
      billed_as: string;
    }[];
  };
  late: {
    total: number;
    shown: {
      transaction_id: string;
      request_id: string;
      external_subscription_id: string;
      amount: string;
      arrived_at: string | null;
    }[];
  };
  changed: {
    total: number;
    shown: {
      transaction_id: string;
      request_id: string;
      ledger: { subscription: string; amount: string };
      lago: { subscription: string | null; amount: string };
    }[];
  };
  not_in_ledger: Sum;
  foreign: {
    total: Sum;
    shown: { transaction_id: string; external_subscription_id: string | null; code: string; timestamp: string }[];
  };
}

export interface DayResult {
  ledger: Ledger;
  comparison: Comparison;
  /** Missing, and past the time when Lago would have billed it. */
  tooLate: Expected[];
  /** Missing because Lago would not bill it as things are. */
  blocked: { expected: Expected; reason: string }[];
}

/** Adds up days. */
export function createReconcileReport(options: { start: number; end: number; period: BillingPeriod }) {
  const { period } = options;
  const lines = new Map<
    string,
    Record<'ledger' | 'lago' | 'missing' | 'double' | 'late', ReturnType<typeof createSum>>
  >();
  const held = new Map<string, number>();
  const skipped: Record<string, number> = {};
  const notInLedger = createSum();
  const foreignSum = createSum();
  const lists = { missing: [], double: [], late: [], changed: [], foreign: [] } as Record<string, unknown[]>;
  const totals: Record<string, number> = { missing: 0, double: 0, late: 0, changed: 0 };
  let rows = 0;

  const lineOf = (subscription: string | null, model: unknown) => {
    const key = JSON.stringify([subscription ?? '', String(model ?? '')]);
    const line = lines.get(key) ?? {
      ledger: createSum(),
      lago: createSum(),
      missing: createSum(),
      double: createSum(),
      late: createSum(),
    };
    lines.set(key, line);
    return line;
  };
  const show = (name: string, entry: unknown) => {
    totals[name] = (totals[name] ?? 0) + 1;
    const list = lists[name] ?? [];
    if (list.length < maxShown) list.push(entry);
  };
  const named = ({ transactionId, requestId, subscription, amount }: Expected) => ({
    transaction_id: transactionId,
    request_id: requestId,
    external_subscription_id: subscription,
    amount,
  });
  const isLate = ({ at, arrivedAt }: StoredEvent) =>
    period !== 'none' && arrivedAt !== null && arrivedAt.getTime() >= endOfPeriod(at.getTime(), period) + closesAfterMs;

  function addFound({ expected, stored }: Found) {
    const line = lineOf(expected.subscription, expected.model);
    line.lago.add(amountOf(stored));
    if (!isLate(stored)) return;
    line.late.add(amountOf(stored));
    show('late', { ...named(expected), arrived_at: stored.arrivedAt?.toISOString() ?? null });
  }

  return {
    add({ ledger, comparison, tooLate, blocked }: DayResult) {
      rows += ledger.rows;
      for (const [reason, count] of Object.entries(ledger.skipped)) skipped[reason] = (skipped[reason] ?? 0) + count;
      for (const { reason } of [...ledger.held, ...blocked]) held.set(reason, (held.get(reason) ?? 0) + 1);
      for (const { expected } of ledger.owed) {
        for (const item of expected) lineOf(item.subscription, item.model).ledger.add(item.amount);
      }
      for (const item of comparison.found) addFound(item);
      for (const item of comparison.missing) {
        lineOf(item.subscription, item.model).missing.add(item.amount);
        show('missing', { ...named(item), timestamp: new Date(item.at).toISOString() });
      }
      for (const item of tooLate) {
        const line = lineOf(item.subscription, item.model);
        line.missing.add(item.amount);
        line.late.add(item.amount);
        show('late', { ...named(item), arrived_at: null });
      }
      for (const { kind, expected, stored } of comparison.double) {
        const line = lineOf(stored.subscription, stored.properties.model);
        line.double.add(amountOf(stored));
        line.lago.add(amountOf(stored));
        show('double', { kind, ...named(expected), billed_as: stored.transactionId });
      }
      for (const { expected, stored } of comparison.changed) {
        lineOf(stored.subscription, stored.properties.model).lago.add(amountOf(stored));
        const { subscription, amount } = expected;
        show('changed', {
          transaction_id: expected.transactionId,
          request_id: expected.requestId,
          ledger: { subscription, amount },
          lago: { subscription: stored.subscription, amount: String(amountOf(stored) ?? '') },
        });
      }
      for (const stored of comparison.notInLedger) {
        notInLedger.add(amountOf(stored));
        lineOf(stored.subscription, stored.properties.model).lago.add(amountOf(stored));
      }
      for (const stored of comparison.foreign) {
        foreignSum.add(amountOf(stored));
        lineOf(stored.subscription, stored.properties.model).lago.add(amountOf(stored));
        show('foreign', {
          transaction_id: stored.transactionId,
          external_subscription_id: stored.subscription,
          code: stored.code,
          timestamp: stored.at.toISOString(),
        });
      }
    },

    summarize(end: { nextStart: number | undefined; listsEvents: boolean }): ReconcileReport {
      const part = (name: string) => ({ total: totals[name] ?? 0, shown: lists[name] ?? [] });
      return {
        window: { start: new Date(options.start).toISOString(), end: new Date(options.end).toISOString() },
        complete: end.nextStart === undefined,
        next_start: end.nextStart === undefined ? null : new Date(end.nextStart).toISOString(),
        lists_events: end.listsEvents,
        rows,
        skipped,
        held: [...held].map(([reason, count]) => ({ reason, rows: count })),
        lines: [...lines].map(([key, line]) => {
          const [subscription, model] = JSON.parse(key) as [string, string];
          const { ledger, lago, missing, double, late } = line;
          return {
            subscription,
            model,
            ledger: ledger.toJSON(),
            lago: lago.toJSON(),
            missing: missing.toJSON(),
            double: double.toJSON(),
            late: late.toJSON(),
          };
        }),
        missing: part('missing'),
        double: part('double'),
        late: part('late'),
        changed: part('changed'),
        not_in_ledger: notInLedger.toJSON(),
        foreign: { total: foreignSum.toJSON(), shown: lists.foreign ?? [] },
      } as ReconcileReport;
    },
  };
}
