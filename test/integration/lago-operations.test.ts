import { afterEach, describe, expect, test } from 'vitest';
import { createLagoClient, type LagoEvent } from '#shared/clients/lago.ts';
import { createLagoCustomersClient } from '#shared/clients/lago-customers.ts';
import { createLagoLedgerClient } from '#shared/clients/lago-ledger.ts';
import { createLagoPlansClient } from '#shared/clients/lago-plans.ts';
import { createPreflight } from '../../functions/lago-usage-push/preflight/preflight.ts';
import { type LagoSandbox, startLagoSandbox } from '../../sandbox/lago.ts';
import { type LagoFunction, startLagoFunction } from '../support/lago-function.ts';

let sandbox: LagoSandbox;
let own: LagoFunction;
afterEach(() => Promise.all([sandbox.close(), own.close()]));

const plan = `
version: 1
billable_metrics:
  - { code: llm_cost, aggregation_type: sum_agg, field_name: cost }
  - { code: llm_input_tokens, aggregation_type: sum_agg, field_name: value }
plans:
  - code: payg
    amount_currency: USD
    amount_cents: 900
    charges:
      - { billable_metric: llm_cost, cost_pass_through: {} }
      - billable_metric: llm_input_tokens
        model_prices: { prices: { gpt-4o: 2.50 }, default: 5 }
  - code: korea
    amount_currency: KRW
    charges: [{ billable_metric: llm_cost, cost_pass_through: {} }]
subscriptions:
  - { external_id: acme, external_customer_id: acme, plan_code: payg, subscription_at: 2026-11-01 }
  - { external_id: acme-lab, external_customer_id: acme, plan_code: payg, subscription_at: 2026-11-10 }
  - { external_id: seoul, external_customer_id: seoul, plan_code: korea, subscription_at: 2026-11-01 }
`;

async function start(profile: string) {
  sandbox = await startLagoSandbox({ profile, now: () => new Date('2026-11-21T12:00:00Z') });
  own = startLagoFunction({ lagoUrl: sandbox.url });
  const { call } = own;
  expect(await call('POST', '/provision?dry_run=false', plan)).toMatchObject({ status: 200 });
  const lago = { baseUrl: sandbox.url, apiKey: () => 'lago-sandbox', timeoutMs: 5_000 };
  return { call, lago };
}

const event = (subscription: string, at: string, changes: Partial<LagoEvent> = {}): LagoEvent => ({
  transaction_id: `${subscription}-${at}-${JSON.stringify(changes)}`,
  external_subscription_id: subscription,
  code: 'llm_cost',
  timestamp: (Date.parse(at) / 1000).toFixed(3),
  properties: { model: 'gpt-4o', cost: '1.25' },
  ...changes,
});

describe.each(['1.12', '1.33', '1.39', 'clickhouse'])('Lago %s', (profile) => {
  test('tells what a customer used by model, and what the next invoice will ask for', async () => {
    const { call, lago } = await start(profile);
    const tokens = (model: string, value: string) => ({ code: 'llm_input_tokens', properties: { model, value } });
    await createLagoClient(lago).sendBatch([
      event('acme', '2026-11-02T00:00:00Z'),
      event('acme', '2026-11-03T00:00:00Z', { properties: { model: 'gpt-4o-mini', cost: '0.75' } }),
      event('acme', '2026-11-04T00:00:00Z', tokens('gpt-4o', '1000000')),
      event('acme', '2026-11-04T00:00:00Z', tokens('unlisted', '2000000')),
      event('acme-lab', '2026-11-12T00:00:00Z'),
      event('acme-lab', '2026-11-09T00:00:00Z'),
    ]);
    const answer = await call('GET', '/usage?customer=acme');
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({
      customer: 'acme',
      subscriptions: [
        {
          subscription: 'acme',
          currency: 'USD',
          usage_amount_cents: 200 + 250 + 1000,
          upcoming_invoice: { issuing_date: '2026-12-01', subscription_amount_cents: 900, total_amount_cents: 2350 },
        },
        { subscription: 'acme-lab', from: '2026-11-10T00:00:00.000Z', usage_amount_cents: 125 },
      ],
      upcoming_invoices: [{ issuing_date: '2026-12-01', currency: 'USD', amount_cents: 2350 + 1025 }],
    });
    const [acme] = (answer.body as { subscriptions: { usage: unknown[] }[] }).subscriptions;
    expect(acme?.usage).toEqual([
      { metric: 'llm_cost', group: { model: 'gpt-4o' }, units: '1.25', amount_cents: 125 },
      { metric: 'llm_cost', group: { model: 'gpt-4o-mini' }, units: '0.75', amount_cents: 75 },
      { metric: 'llm_input_tokens', group: { model: 'gpt-4o' }, units: '1000000', amount_cents: 250 },
      { metric: 'llm_input_tokens', group: {}, units: '2000000', amount_cents: 1000 },
    ]);
  });

  test('says before the push what Lago would take and never bill', async () => {
    const { lago } = await start(profile);
    const preflight = createPreflight({
      customers: createLagoCustomersClient(lago),
      plans: createLagoPlansClient(lago),
      ledger: createLagoLedgerClient(lago),
      currency: 'USD',
    });
    const at = '2026-11-15T00:00:00Z';
    const reasonOf = async (item: LagoEvent) => (await preflight(item))?.reason;
    expect(await reasonOf(event('acme', at))).toBeUndefined();
    expect(await reasonOf(event('nobody', at))).toBe('unknown_subscription');
    expect(await reasonOf(event('acme-lab', '2026-11-09T23:59:59.999Z'))).toBe('before_started_at');
    expect(await reasonOf(event('acme', at, { code: 'other' }))).toBe('unknown_metric');
    expect(await reasonOf(event('seoul', at, { code: 'llm_input_tokens' }))).toBe('no_charge');
    expect(await reasonOf(event('seoul', at))).toBe('other_currency');
    expect(await reasonOf(event('acme-lab', at, { properties: { cost: '1e-7' } }))).toBe('bad_value');
    expect(sandbox.events).toEqual([]);
  });
});

test('answers 404 for a customer whom Lago does not know, and 400 without one', async () => {
  const { call } = await start('1.39');
  expect(await call('GET', '/usage?customer=nobody')).toMatchObject({
    status: 404,
    body: { code: 'customer_not_found' },
  });
  expect(await call('GET', '/usage')).toMatchObject({ status: 400, body: { code: 'bad_parameter' } });
  expect(await call('GET', '/usage?customer=seoul')).toMatchObject({
    status: 200,
    body: { upcoming_invoices: [{ currency: 'KRW', amount_cents: 0 }] },
  });
});
