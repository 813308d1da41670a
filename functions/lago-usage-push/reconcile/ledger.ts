import type { LagoEvent } from '#shared/clients/lago.ts';
import type { SpendRow } from '#shared/clients/litellm.ts';
import { formatUsd } from '#shared/money.ts';
import { type BillingRules, decide } from '../billing/decide.ts';
import { type EventRules, toEvents } from '../billing/events.ts';
import { type Call, spendOf } from '../calls/call.ts';
import { fromRow } from '../calls/from-row.ts';
import type { Rollup } from '../schedule/rollup.ts';
import { amountFields, type Expected } from './compare.ts';

export interface LedgerOptions {
  litellm: { spendRows(window: { from: Date; to: Date; signal?: AbortSignal }): AsyncIterable<SpendRow> };
  /** Closed days instead of rows. */
  rollup: Rollup | undefined;
  rules: BillingRules;
  events: EventRules;
}

/** A call that should be in Lago. */
export interface Owed {
  call: Call;
  events: LagoEvent[];
  expected: Expected[];
  /** Its period is closed: what Lago does not have it will not bill. */
  isLate: boolean;
}

/** A window of LiteLLM's ledger by what billing makes of it. */
export interface Ledger {
  rows: number;
  owed: Owed[];
  skipped: Record<string, number>;
  /** Calls that wait for somebody to pay, or for a rate. */
  held: { call: Call; reason: string; id: string | null }[];
}

function toExpected(call: Call, event: LagoEvent): Expected {
  const field = amountFields.find((name) => event.properties[name] !== undefined);
  return {
    transactionId: event.transaction_id,
    requestId: call.requestId,
    subscription: event.external_subscription_id,
    model: event.properties.model ?? '',
    code: event.code,
    amount: field === undefined ? '0' : (event.properties[field] ?? '0'),
    baseCost: formatUsd(spendOf(call)),
    totalTokens: call.total,
    at: call.startedAt,
  };
}

/** Reads [from, to) of the ledger and decides on each call as the push does. */
export async function readLedger(
  { litellm, rollup, rules, events }: LedgerOptions,
  window: { from: number; to: number; now: number; signal?: AbortSignal | undefined },
): Promise<Ledger> {
  const { from, to, now, signal } = window;
  const ledger: Ledger = { rows: 0, owed: [], skipped: {}, held: [] };
  const add = (call: Call) => {
    ledger.rows += 1;
    const decision = decide(call, rules, now);
    if (decision.kind === 'skip') ledger.skipped[decision.reason] = (ledger.skipped[decision.reason] ?? 0) + 1;
    else if (decision.kind === 'hold') ledger.held.push({ call, reason: decision.reason, id: decision.id });
    else {
      const { subscription, isLate } = decision;
      const made = toEvents(call, { subscription, billedAt: call.startedAt }, events);
      if (made === undefined) ledger.held.push({ call, reason: 'no_rate', id: subscription });
      else ledger.owed.push({ call, events: made, expected: made.map((event) => toExpected(call, event)), isLate });
    }
  };
  if (rollup !== undefined) {
    for (const call of await rollup.calls(from, signal, { isDryRun: true })) add(call);
    return ledger;
  }
  const range = { from: new Date(from), to: new Date(to), ...(signal === undefined ? {} : { signal }) };
  for await (const row of litellm.spendRows(range)) add(fromRow(row));
  return ledger;
}
