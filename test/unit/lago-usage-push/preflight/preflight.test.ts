import { describe, expect, test } from 'vitest';
import type { LagoEvent } from '#shared/clients/lago.ts';
import type { LagoSubscription } from '#shared/clients/lago-customers.ts';
import type { Estimate } from '#shared/clients/lago-ledger.ts';
import type { LagoMetric, LagoPlan } from '#shared/clients/lago-plans.ts';
import { createPreflight } from '../../../../functions/lago-usage-push/preflight/preflight.ts';

const subscription: LagoSubscription = {
  externalId: 'acme',
  customerId: 'acme',
  planCode: 'payg',
  name: null,
  status: 'active',
  billingTime: 'calendar',
  subscriptionAt: new Date('2026-11-01T00:00:00Z'),
  startedAt: new Date('2026-11-01T00:00:00Z'),
  terminatedAt: null,
};
const metric: LagoMetric = {
  lagoId: 'm1',
  code: 'llm_cost',
  name: 'LLM cost',
  aggregationType: 'sum_agg',
  fieldName: 'cost',
  filters: [],
};
const charge = {
  lagoId: 'c1',
  code: null,
  metricId: 'm1',
  metricCode: 'llm_cost',
  invoiceDisplayName: null,
  chargeModel: 'standard',
  payInAdvance: false,
  properties: { amount: '1' },
  filters: [],
};
const plan: LagoPlan = {
  lagoId: 'p1',
  code: 'payg',
  name: 'Pay as you go',
  interval: 'monthly',
  amountCents: 0,
  currency: 'USD',
  payInAdvance: false,
  charges: [charge],
};

interface World {
  subscription?: LagoSubscription | undefined;
  metric?: LagoMetric | undefined;
  plan?: LagoPlan | undefined;
  estimate?: Estimate;
}

function start(world: World = {}) {
  const lago = { subscription, metric, plan, estimate: 'billed_in_arrears' as Estimate, ...world };
  const asked: string[] = [];
  const clock = { now: 0 };
  const note = <T>(what: string, value: () => T) => {
    return async () => {
      asked.push(what);
      return value();
    };
  };
  const preflight = createPreflight({
    customers: { findSubscription: note('subscription', () => lago.subscription) },
    plans: { findMetric: note('metric', () => lago.metric), findPlan: note('plan', () => lago.plan) },
    ledger: { estimate: note('estimate', () => lago.estimate) },
    currency: 'USD',
    now: () => clock.now,
  });
  return { preflight, asked, clock, lago };
}

const event = (at: string): LagoEvent => ({
  transaction_id: at,
  external_subscription_id: 'acme',
  code: 'llm_cost',
  timestamp: (Date.parse(at) / 1000).toFixed(3),
  properties: { cost: '0.5' },
});
const midMonth = event('2026-11-15T00:00:00Z');

describe('before a push', () => {
  test('lets pass what Lago will bill, and asks once for all that follows', async () => {
    const { preflight, asked, clock } = start();
    expect(await preflight(midMonth)).toBeUndefined();
    for (let minute = 1; minute < 10; minute++) {
      clock.now = minute * 60_000;
      expect(await preflight(midMonth)).toBeUndefined();
    }
    expect(asked.toSorted()).toEqual(['estimate', 'metric', 'plan', 'subscription']);
    clock.now = 11 * 60_000;
    await preflight(midMonth);
    expect(asked).toHaveLength(8);
  });

  test.each<[string, World, string]>([
    ['unknown_subscription', { subscription: undefined }, 'Lago has no subscription acme'],
    ['unknown_metric', { metric: undefined }, 'Lago has no billable metric llm_cost'],
    [
      'no_charge',
      { plan: { ...plan, charges: [] } },
      'plan payg of subscription acme has no charge on the metric llm_cost',
    ],
    ['other_currency', { plan: { ...plan, currency: 'KRW' } }, 'bills in KRW and the events are in USD'],
    ['bad_value', { estimate: 'bad_value' }, 'Lago takes no number'],
    ['unknown_subscription', { estimate: 'unknown_subscription' }, 'no active subscription acme'],
  ])('says %s', async (reason, world, sentence) => {
    const { preflight } = start(world);
    expect(await preflight(midMonth)).toEqual({ reason, sentence: expect.stringContaining(sentence) });
  });

  test('tells usage before the subscription began from the first that counts, to the millisecond', async () => {
    const { preflight } = start();
    expect(await preflight(event('2026-10-31T23:59:59.999Z'))).toMatchObject({ reason: 'before_started_at' });
    expect(await preflight(event('2026-11-01T00:00:00.000Z'))).toBeUndefined();
  });

  test('takes usage of an ended subscription up to its last millisecond', async () => {
    const terminatedAt = new Date('2026-11-10T12:00:00Z');
    const { preflight, asked } = start({ subscription: { ...subscription, status: 'terminated', terminatedAt } });
    expect(await preflight(event('2026-11-10T12:00:00.000Z'))).toBeUndefined();
    expect(await preflight(event('2026-11-10T12:00:00.001Z'))).toMatchObject({ reason: 'after_terminated_at' });
    expect(asked).not.toContain('estimate');
  });

  test('holds usage of a subscription that is still to begin', async () => {
    const pending = { status: 'pending', startedAt: null, subscriptionAt: new Date('2026-12-01T00:00:00Z') };
    const { preflight } = start({ subscription: { ...subscription, ...pending } });
    expect(await preflight(midMonth)).toMatchObject({ reason: 'before_started_at' });
  });

  test('asks nothing of the currency of tokens', async () => {
    const code = 'llm_input_tokens';
    const { preflight } = start({
      metric: { ...metric, code },
      plan: { ...plan, currency: 'EUR', charges: [{ ...charge, metricCode: code }] },
    });
    expect(await preflight({ ...midMonth, code })).toBeUndefined();
  });

  test('sees within half a minute that something was mended', async () => {
    const { preflight, lago, clock } = start({ subscription: undefined });
    expect(await preflight(midMonth)).toMatchObject({ reason: 'unknown_subscription' });
    lago.subscription = subscription;
    expect(await preflight(midMonth)).toMatchObject({ reason: 'unknown_subscription' });
    clock.now = 30_001;
    expect(await preflight(midMonth)).toBeUndefined();
  });

  test('fails when Lago cannot be asked, and asks again', async () => {
    const { preflight, lago } = start();
    const failure = new Error('no answer');
    Object.defineProperty(lago, 'metric', {
      configurable: true,
      get() {
        throw failure;
      },
    });
    await expect(preflight(midMonth)).rejects.toBe(failure);
    Object.defineProperty(lago, 'metric', { value: metric });
    expect(await preflight(midMonth)).toBeUndefined();
  });
});
