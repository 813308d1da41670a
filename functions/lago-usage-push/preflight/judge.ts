import type { LagoSubscription } from '#shared/clients/lago-customers.ts';
import type { Estimate } from '#shared/clients/lago-ledger.ts';
import type { LagoMetric, LagoPlan } from '#shared/clients/lago-plans.ts';

export const dropReasons = [
  'unknown_subscription',
  'before_started_at',
  'after_terminated_at',
  'unknown_metric',
  'no_charge',
  'other_currency',
  'bad_value',
] as const;
/** Why Lago would answer 200 to an event and never bill it, or bill it wrongly. */
export type DropReason = (typeof dropReasons)[number];

export interface Finding {
  reason: DropReason;
  sentence: string;
}

/** What Lago has on one side of an event. */
export interface Facts {
  subscription: LagoSubscription | undefined;
  metric: LagoMetric | undefined;
  plan: LagoPlan | undefined;
}

/** An event before it is sent. */
export interface Candidate {
  subscription: string;
  code: string;
  /** ms since 1970. */
  at: number;
}

/**
 * What Lago would do with an event of this time; undefined when it would bill it. `currency` is what the events' amounts
 * are in. Lago compares to the millisecond: an event at `started_at` counts.
 */
export function judge({ subscription: id, code, at }: Candidate, facts: Facts, currency: string): Finding | undefined {
  const { subscription, metric, plan } = facts;
  const find = (reason: DropReason, sentence: string): Finding => ({ reason, sentence });
  if (subscription === undefined) {
    return find('unknown_subscription', `Lago has no subscription ${id}: make one by POST /sync or POST /provision`);
  }
  const startedAt = subscription.startedAt ?? subscription.subscriptionAt;
  if (startedAt !== null && at < startedAt.getTime()) {
    const when = startedAt.toISOString();
    return find('before_started_at', `subscription ${id} begins at ${when}: Lago never bills earlier usage`);
  }
  const endedAt = subscription.terminatedAt;
  if (endedAt !== null && at > endedAt.getTime()) {
    return find('after_terminated_at', `subscription ${id} ended at ${endedAt.toISOString()}`);
  }
  if (metric === undefined) return find('unknown_metric', `Lago has no billable metric ${code}`);
  const charges = plan?.charges ?? [];
  if (!charges.some(({ metricId, metricCode }) => metricId === metric.lagoId || metricCode === code)) {
    return find('no_charge', `plan ${subscription.planCode} of subscription ${id} has no charge on the metric ${code}`);
  }
  // Tokens have no currency: what they cost is the plan's own affair.
  if (metric.code.endsWith('_tokens') || plan === undefined || plan.currency === currency) return undefined;
  return find(
    'other_currency',
    `plan ${plan.code} bills in ${plan.currency} and the events are in ${currency}: Lago converts nothing, so give FX_RATES`,
  );
}

/** What Lago's strict validator says of the event itself, once everything around it is right. */
export function judgeEstimate({ subscription, code }: Candidate, estimate: Estimate): Finding | undefined {
  if (estimate === 'bad_value') {
    return {
      reason: 'bad_value',
      sentence: `Lago takes no number from the events of ${code}: look at the metric's field`,
    };
  }
  if (estimate === 'unknown_metric')
    return { reason: 'unknown_metric', sentence: `Lago has no billable metric ${code}` };
  // Between the reads and the estimate it can end.
  if (estimate === 'unknown_subscription') {
    return { reason: 'unknown_subscription', sentence: `Lago has no active subscription ${subscription}` };
  }
  return undefined;
}
