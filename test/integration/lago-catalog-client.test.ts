import { afterEach, describe, expect, test } from 'vitest';
import { createLagoClient } from '#shared/clients/lago.ts';
import { createLagoCustomersClient } from '#shared/clients/lago-customers.ts';
import { readLagoVersion } from '#shared/clients/lago-http.ts';
import { createLagoLedgerClient } from '#shared/clients/lago-ledger.ts';
import { type ChargeInput, createLagoPlansClient } from '#shared/clients/lago-plans.ts';
import { type LagoSandbox, startLagoSandbox } from '../../sandbox/lago.ts';

let sandbox: LagoSandbox;
afterEach(() => sandbox.close());

const now = () => new Date('2026-11-21T12:00:00Z');

async function start(profile = '1.39') {
  sandbox = await startLagoSandbox({ profile, now });
  const options = { baseUrl: sandbox.url, apiKey: () => 'lago-sandbox', timeoutMs: 5_000, sleep: async () => {} };
  return {
    options,
    plans: createLagoPlansClient(options),
    customers: createLagoCustomersClient(options),
    ledger: createLagoLedgerClient(options),
    sender: createLagoClient(options),
  };
}

const metric = { code: 'llm_cost', name: 'LLM cost', aggregation_type: 'sum_agg', field_name: 'cost', filters: [] };
const plan = {
  code: 'payg',
  name: 'Pay as you go',
  interval: 'monthly',
  amount_cents: 0,
  amount_currency: 'USD',
  pay_in_advance: false,
  charges: [],
};
const standard = (metricId: string, amount: string): ChargeInput => ({
  billable_metric_id: metricId,
  charge_model: 'standard',
  pay_in_advance: false,
  properties: { amount },
  filters: [],
});

describe.each(['1.12', '1.33', '1.39', 'clickhouse'])('Lago %s', (profile) => {
  test('adds a charge and re-prices another without making any of them anew', async () => {
    const { plans } = await start(profile);
    const first = await plans.createMetric(metric);
    const second = await plans.createMetric({ ...metric, code: 'tokens', field_name: 'value' });
    const third = await plans.createMetric({ ...metric, code: 'calls', field_name: 'value' });
    await plans.createPlan({ ...plan, charges: [standard(first.lagoId, '1'), standard(second.lagoId, '2')] });
    const before = await plans.findPlan('payg');
    const [kept, changed] = before!.charges;
    await plans.changeCharges(before!, {
      create: [standard(third.lagoId, '3')],
      update: [{ lagoId: changed!.lagoId, input: standard(second.lagoId, '2.5') }],
    });
    const after = await plans.findPlan('payg');
    expect(after!.charges.map(({ lagoId, properties }) => [lagoId, properties.amount])).toEqual([
      [kept!.lagoId, '1'],
      [changed!.lagoId, '2.5'],
      [expect.any(String), '3'],
    ]);
    expect(after!.charges[0]).toEqual(kept);
  });

  test('adds the first charge to a plan that has none', async () => {
    const { plans } = await start(profile);
    const made = await plans.createMetric(metric);
    const empty = await plans.createPlan(plan);
    await plans.changeCharges(empty, { create: [standard(made.lagoId, '1')], update: [] });
    expect((await plans.findPlan('payg'))!.charges).toHaveLength(1);
  });

  test('reads what a subscription used in its month', async () => {
    const { plans, customers, sender } = await start(profile);
    const made = await plans.createMetric(metric);
    await plans.createPlan({ ...plan, charges: [standard(made.lagoId, '1.2')] });
    await customers.createSubscription({
      external_id: 'acme',
      external_customer_id: 'acme',
      plan_code: 'payg',
      subscription_at: '2026-11-01T00:00:00Z',
    });
    const event = (id: string, cost: string, at: string) => ({
      transaction_id: id,
      external_subscription_id: 'acme',
      code: 'llm_cost',
      timestamp: String(Date.parse(at) / 1000),
      properties: { cost },
    });
    await sender.sendBatch([
      event('a', '0.5', '2026-11-02T00:00:00Z'),
      event('b', '0.75', '2026-11-03T00:00:00Z'),
      event('too-early', '9', '2026-10-31T23:59:59Z'),
      event('exponent', '1e-7', '2026-11-03T00:00:00Z'),
    ]);
    const usage = await customers.currentUsage({ customerId: 'acme', subscriptionId: 'acme' });
    expect(usage).toMatchObject({ currency: 'USD', total_amount_cents: 150, issuing_date: '2026-12-01' });
    expect(usage!.charges_usage[0]).toMatchObject({ units: '1.25', events_count: 2 });
  });

  test('says by an estimate what an event would meet, and stores none', async () => {
    const { plans, customers, ledger } = await start(profile);
    const probe = { code: 'llm_cost', subscription: 'acme', properties: { cost: '0.5' } };
    expect(await ledger.estimate(probe)).toBe('unknown_subscription');
    const made = await plans.createMetric(metric);
    await plans.createPlan({ ...plan, charges: [standard(made.lagoId, '1.2')] });
    await customers.createSubscription({ external_id: 'acme', external_customer_id: 'acme', plan_code: 'payg' });
    expect(await ledger.estimate({ ...probe, code: 'other' })).toBe('unknown_metric');
    expect(await ledger.estimate({ ...probe, properties: { cost: '1e-7' } })).toBe('bad_value');
    expect(await ledger.estimate(probe)).toBe('billed_in_arrears');
    expect(sandbox.events).toEqual([]);
  });

  test('finds a subscription that has ended or has not begun', async () => {
    const { plans, customers } = await start(profile);
    await plans.createPlan(plan);
    const ids = (id: string) => ({ external_id: id, external_customer_id: id, plan_code: 'payg' });
    await customers.createSubscription({ ...ids('later'), subscription_at: '2026-12-01T00:00:00Z' });
    await customers.createSubscription(ids('gone'));
    sandbox.catalog.subscriptions.find((item) => item.external_id === 'gone')!.status = 'terminated';
    expect(await customers.findSubscription('later')).toMatchObject({ status: 'pending', startedAt: null });
    expect(await customers.findSubscription('gone')).toMatchObject({ status: 'terminated' });
    expect(await customers.findSubscription('nobody')).toBeUndefined();
    expect((await customers.listSubscriptions({ status: 'pending' })).map((item) => item.externalId)).toEqual([
      'later',
    ]);
  });

  test('tells its version', async () => {
    const { options } = await start(profile);
    expect(await readLagoVersion(options)).toMatch(/^1\.\d+\.\d+$/);
  });
});

test('lists events of a half-open window, page by page', async () => {
  const { ledger, sender } = await start();
  const events = Array.from({ length: 250 }, (_, index) => ({
    transaction_id: `t${index}`,
    external_subscription_id: 'acme',
    code: index % 2 === 0 ? 'llm' : 'other',
    timestamp: String(1_795_000_000 + index),
    properties: {},
  }));
  await sender.sendBatch(events);
  const found: string[] = [];
  const window = { from: new Date(1_795_000_010_000), to: new Date(1_795_000_230_000) };
  for await (const event of ledger.listEvents({ ...window, code: 'llm' })) found.push(event.transactionId);
  expect(found).toHaveLength(110);
  expect(found).not.toContain('t230');
  expect(found).toContain('t10');
});

test("tells Lago's reason for a refusal, and a wrong address from an unknown plan", async () => {
  const { plans, options } = await start();
  await plans.createMetric(metric);
  await expect(plans.createMetric(metric)).rejects.toMatchObject({
    status: 422,
    advice: 'it refuses this: {"code":["value_already_exist"]}',
  });
  expect(await plans.findPlan('none')).toBeUndefined();
  const lost = createLagoPlansClient({ ...options, baseUrl: `${sandbox.url}/elsewhere` });
  await expect(lost.findPlan('none')).rejects.toMatchObject({
    status: 404,
    advice: expect.stringMatching(/LAGO_API_BASE/),
  });
});
