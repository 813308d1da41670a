import { formatUsd } from '#shared/money.ts';
import type { ChargeBy, UsageRow } from './event.ts';
import type { Window } from './window.ts';

export interface RejectedEvent {
  transaction_id: string;
  request_id: string;
  external_subscription_id: string;
  response_cost: string;
  reason: string;
}

/** Rows that name nobody who pays, by model. */
export interface Unmapped {
  charge_by: ChargeBy;
  model: string;
  rows: number;
  spend_usd: string;
}

/** The answer of a run, in the words of the wire. Every row read is in exactly one of the counts. */
export interface RunSummary {
  dry_run: boolean;
  window: { from: string; to: string };
  rows: number;
  sent: number;
  already_there: number;
  rejected: RejectedEvent[];
  unmapped: Unmapped[];
  skipped: { failures: number; cache_hits: number; done_before: number };
  /** Of a dry run: what would be sent. */
  would_send?: { events: number; spend_usd: string };
  /** Null while nothing was billed yet. */
  next_mark: string | null;
}

/** Adds up a run row by row. */
export function createReport(options: { window: Window; chargeBy: ChargeBy; dryRun: boolean }) {
  const { window, chargeBy, dryRun } = options;
  const counts = { rows: 0, sent: 0, already_there: 0 };
  const skipped = { failures: 0, cache_hits: 0, done_before: 0 };
  const rejected: RejectedEvent[] = [];
  const unmapped = new Map<string, { rows: number; spend: bigint }>();
  const wouldSend = { events: 0, spend: 0n };

  return {
    counts,
    skipped,
    rejected,
    addUnmapped({ model, spend }: UsageRow) {
      const sum = unmapped.get(model) ?? { rows: 0, spend: 0n };
      unmapped.set(model, { rows: sum.rows + 1, spend: sum.spend + spend });
    },
    addWouldSend({ spend }: UsageRow) {
      wouldSend.events += 1;
      wouldSend.spend += spend;
    },
    summarize(mark: number | undefined): RunSummary {
      return {
        dry_run: dryRun,
        window: { from: new Date(window.from).toISOString(), to: new Date(window.to).toISOString() },
        ...counts,
        rejected,
        unmapped: [...unmapped].map(([model, { rows, spend }]) => ({
          charge_by: chargeBy,
          model,
          rows,
          spend_usd: formatUsd(spend),
        })),
        skipped,
        ...(dryRun ? { would_send: { events: wouldSend.events, spend_usd: formatUsd(wouldSend.spend) } } : {}),
        next_mark: mark === undefined ? null : new Date(mark).toISOString(),
      };
    },
  };
}

export type Report = ReturnType<typeof createReport>;
