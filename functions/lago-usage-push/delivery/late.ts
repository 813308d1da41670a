import type { LagoClient, LagoEvent } from '#shared/clients/lago.ts';
import type { KeyValue } from '#shared/store/store.ts';
import { type EventRules, toEvents } from '../billing/events.ts';
import { type BillingPeriod, isClosed, startOfPeriod } from '../billing/period.ts';
import { type Call, digest } from '../calls/call.ts';
import type { Report } from '../schedule/report.ts';
import type { HeldCall } from './held.ts';

/** hold: reported with its amount. next_period: billed at the begin of the period that is open. */
export const lateRules = ['hold', 'next_period'] as const;
export type LateRule = (typeof lateRules)[number];

/** How long a decision is known: longer than anybody replays. */
const keptForMs = 400 * 24 * 60 * 60 * 1000;

interface Settling {
  held: HeldCall[];
  done: (call: Call) => void;
  report: Report;
  signal?: AbortSignal | undefined;
}

export interface Late {
  /** The events of calls that came after their period closed; those that Lago has in time are done, the others wait. */
  settle(
    calls: { call: Call; subscription: string }[],
    settling: Settling,
  ): Promise<{ call: Call; events: LagoEvent[] }[]>;
}

/**
 * Lago stores usage of a finalized period and never bills it. What it got in time (and we no longer know of) is found
 * by reading; of the rest each call is decided once, and the decision kept, so that a replay in yet another period
 * finds the same time: a store that replaces by id and time would bill it again.
 */
export function createLate(options: {
  lago: LagoClient;
  kv: KeyValue;
  key: string;
  rule: LateRule;
  period: BillingPeriod;
  events: EventRules;
  now: () => number;
}): Late {
  const { lago, kv, rule, period, now } = options;
  const keyOf = (call: Call) => `${options.key}/late/${digest(call.id)}`;
  const eventsAt = (call: Call, subscription: string, billedAt: number) =>
    toEvents(call, { subscription, billedAt }, options.events) ?? [];

  return {
    async settle(calls, { held, done, report, signal }) {
      if (calls.length === 0 || period === 'none') return [];
      const decided = await Promise.all(calls.map(({ call }) => kv.get(keyOf(call))));
      const waiting = calls.map((item, index) => {
        const found = decided[index];
        const billedAt = typeof found === 'number' ? found : undefined;
        return { ...item, billedAt, known: eventsAt(item.call, item.subscription, billedAt ?? item.call.startedAt) };
      });
      const stored = await lago.findStored(
        waiting.flatMap(({ known }) => known).sort((left, right) => Number(left.timestamp) - Number(right.timestamp)),
        signal,
      );
      const shifted: { call: Call; events: LagoEvent[] }[] = [];
      for (const { call, subscription, billedAt, known } of waiting) {
        if (known.every(({ transaction_id: id }) => stored.has(id))) {
          report.counts.already_there += known.length;
          done(call);
        } else if (rule === 'hold') {
          held.push({ call, reason: 'late', id: subscription });
        } else {
          const at =
            billedAt !== undefined && !isClosed(billedAt, now(), period) ? billedAt : startOfPeriod(now(), period);
          if (at !== billedAt) await kv.put(keyOf(call), at, { ttlMs: keptForMs });
          const events = eventsAt(call, subscription, at);
          shifted.push({ call, events: events.filter(({ transaction_id: id }) => !stored.has(id)) });
        }
      }
      return shifted;
    },
  };
}
