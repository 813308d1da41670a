import type { LagoEvent } from '#shared/clients/lago.ts';
import type { LagoCustomersClient } from '#shared/clients/lago-customers.ts';
import type { LagoLedgerClient } from '#shared/clients/lago-ledger.ts';
import type { LagoPlansClient } from '#shared/clients/lago-plans.ts';
import { type Finding, judge, judgeEstimate } from './judge.ts';

export interface PreflightOptions {
  customers: Pick<LagoCustomersClient, 'findSubscription'>;
  plans: Pick<LagoPlansClient, 'findMetric' | 'findPlan'>;
  ledger: Pick<LagoLedgerClient, 'estimate'>;
  /** What the events' amounts are in. */
  currency: string;
  now?: () => number;
}

/** What Lago would silently drop of an event; undefined when it would bill it. */
export type Preflight = (event: LagoEvent) => Promise<Finding | undefined>;

// An operator who mends something in Lago wants to see it work; what is right seldom becomes wrong.
const goodForMs = 10 * 60 * 1000;
const badForMs = 30 * 1000;

/** Remembers what was found: longer when something was. */
function createCache<T>(read: (id: string) => Promise<T | undefined>, now: () => number) {
  const found = new Map<string, { value: Promise<T | undefined>; until: number }>();
  return (id: string): Promise<T | undefined> => {
    const known = found.get(id);
    if (known !== undefined && known.until > now()) return known.value;
    const entry = { value: read(id), until: now() + badForMs };
    found.set(id, entry);
    entry.value.then(
      (value) => {
        if (value !== undefined) entry.until = now() + goodForMs;
      },
      () => found.delete(id),
    );
    return entry.value;
  };
}

/**
 * Looks before an event is sent: Lago answers 200 to usage that it will never bill. Three reads for the first event of a
 * subscription and a code, one estimate (which stores nothing), and none for those that follow within ten minutes.
 * Throws UpstreamError when Lago cannot be asked.
 */
export function createPreflight({ customers, plans, ledger, currency, now = Date.now }: PreflightOptions): Preflight {
  const findSubscription = createCache((id) => customers.findSubscription(id), now);
  const findMetric = createCache((code) => plans.findMetric(code), now);
  const findPlan = createCache((code) => plans.findPlan(code), now);
  const estimated = new Map<string, number>();

  return async (event) => {
    const { external_subscription_id: id, code, properties } = event;
    const candidate = { subscription: id, code, at: Math.round(Number(event.timestamp) * 1000) };
    const [subscription, metric] = await Promise.all([findSubscription(id), findMetric(code)]);
    const plan = subscription === undefined ? undefined : await findPlan(subscription.planCode);
    const finding = judge(candidate, { subscription, metric, plan }, currency);
    if (finding !== undefined || subscription?.status !== 'active') return finding;

    const key = JSON.stringify([id, code]);
    if ((estimated.get(key) ?? 0) > now()) return undefined;
    const verdict = judgeEstimate(candidate, await ledger.estimate({ code, subscription: id, properties }));
    if (verdict === undefined) estimated.set(key, now() + goodForMs);
    return verdict;
  };
}
