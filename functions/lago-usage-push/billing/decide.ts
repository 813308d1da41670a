import { type Call, spendOf } from '../calls/call.ts';
import type { DropReason } from '../preflight/judge.ts';
import type { EventMode } from './events.ts';
import { findPayer, type PayerRules } from './payer.ts';
import { type BillingPeriod, isClosed } from './period.ts';

export const skipReasons = [
  'failures',
  'cache_hits',
  'billed_by_litellm',
  'unbilled_tags',
  'unbilled_keys',
  'zero_cost',
  'no_usage',
  'before_bill_from',
  'done_before',
] as const;
export type SkipReason = (typeof skipReasons)[number];

/** Usage without a payer is `unmapped`; everything else that waits is `held` for a reason. */
export type HoldReason = 'no_payer' | 'not_in_map' | 'untrusted_payer' | 'late' | 'no_rate' | DropReason;

export interface BillingRules extends PayerRules {
  mode: EventMode;
  /** ms since 1970; usage before it is never billed. */
  billFrom: number;
  /** Calls with one of these request tags are not billed (the customer's own provider key, say). */
  unbilledTags: readonly string[];
  /** Nor are those of these keys, by alias or hash. */
  unbilledKeys: readonly string[];
  sendZeroCost: boolean;
  period: BillingPeriod;
}

export type Decision =
  | { kind: 'skip'; reason: SkipReason }
  | { kind: 'hold'; reason: HoldReason; id: string | null }
  | { kind: 'bill'; subscription: string; isLate: boolean };

/** Calls that are nobody's debt: what LiteLLM bills itself, what no provider was asked for, what failed without a cost. */
function findSkipReason(call: Call, rules: BillingRules): SkipReason | undefined {
  if (call.isBilledElsewhere) return 'billed_by_litellm';
  if (call.isCacheHit) return 'cache_hits';
  if (call.startedAt < rules.billFrom) return 'before_bill_from';
  const isFree = spendOf(call) === 0n;
  // A stream that broke off may have cost money, and in tokens it is worth those that came.
  if (call.isFailure && isFree && (rules.mode !== 'tokens' || call.completion === 0)) return 'failures';
  if (call.tags.some((tag) => rules.unbilledTags.includes(tag))) return 'unbilled_tags';
  if ([call.keyAlias, call.keyHash].some((key) => key !== null && rules.unbilledKeys.includes(key)))
    return 'unbilled_keys';
  if (rules.mode === 'tokens') return Object.keys(call.tokens).length === 0 ? 'no_usage' : undefined;
  return isFree && !rules.sendZeroCost ? 'zero_cost' : undefined;
}

/** What is to be done with a call, were it sent now. */
export function decide(call: Call, rules: BillingRules, now: number): Decision {
  const reason = findSkipReason(call, rules);
  if (reason !== undefined) return { kind: 'skip', reason };
  const payer = findPayer(call, rules);
  if ('unmapped' in payer) return { kind: 'hold', reason: payer.unmapped, id: payer.id };
  const { subscription } = payer;
  return { kind: 'bill', subscription, isLate: isClosed(call.startedAt, now, rules.period) };
}
