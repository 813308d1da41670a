import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { type LagoSandbox, startLagoSandbox } from '../../sandbox/lago.ts';
import { type LagoFunction, startLagoFunction } from '../support/lago-function.ts';

let sandbox: LagoSandbox;
let lago: LagoFunction;
afterEach(() => Promise.all([sandbox.close(), lago.close()]));

const now = () => new Date('2026-11-21T12:00:00Z');

async function start(profile = '1.39') {
  sandbox = await startLagoSandbox({ profile, now });
  lago = startLagoFunction({ lagoUrl: sandbox.url });
  return async (path: string, plan: unknown) => {
    const { status, body } = await lago.call('POST', path, plan);
    return { status, body: body as Answer };
  };
}

interface Answer {
  dry_run: boolean;
  applied: number;
  code?: string;
  error?: string;
  changes: { kind: string; id: string; action: string; note?: string; changes?: Record<string, unknown> }[];
}

const plan = `
version: 1
billable_metrics:
  - { code: llm_cost, aggregation_type: sum_agg, field_name: cost }
  - { code: llm_input_tokens, aggregation_type: sum_agg, field_name: value }
plans:
  - code: payg
    amount_currency: USD
    charges:
      - { billable_metric: llm_cost, cost_pass_through: { markup: 1.2 } }
      - billable_metric: llm_input_tokens
        model_prices: { prices: { gpt-4o: 2.50, gpt-4o-mini: 0.15 }, default: 5 }
customers:
  - { external_id: acme, name: Acme, currency: USD }
subscriptions:
  - { external_id: acme, external_customer_id: acme, plan_code: payg, subscription_at: 2026-11-01 }
`;

const actions = ({ changes }: Answer) => changes.map(({ kind, id, action }) => `${action} ${kind} ${id}`);
const writes = () => sandbox.ledger.filter(({ method }) => method !== 'GET');

describe.each(['1.12', '1.33', '1.39', 'clickhouse'])('Lago %s', (profile) => {
  test('shows the difference first, makes it true, and then finds nothing to do', async () => {
    const call = await start(profile);
    const shown = await call('/provision', plan);
    expect(shown).toMatchObject({ status: 200, body: { dry_run: true, applied: 0 } });
    expect(actions(shown.body)).toEqual([
      'create billable_metric llm_cost',
      'create billable_metric llm_input_tokens',
      'create plan payg',
      'create charge payg/llm_cost',
      'create charge payg/llm_input_tokens',
      'create customer acme',
      'create subscription acme',
    ]);
    expect(writes()).toEqual([]);

    const done = await call('/provision?dry_run=false', plan);
    expect(done).toMatchObject({ status: 200, body: { dry_run: false, applied: 5, changes: shown.body.changes } });
    expect(sandbox.catalog.subscriptions).toMatchObject([
      { external_id: 'acme', started_at: '2026-11-01T00:00:00.000Z' },
    ]);
    const [cost, tokens] = sandbox.catalog.plans[0]!.charges;
    const groups = profile === '1.12' ? { grouped_by: ['model'] } : { pricing_group_keys: ['model'] };
    expect(cost!.properties).toEqual({ amount: '1.2', ...groups });
    expect(tokens).toMatchObject({
      properties: { amount: '0.000005' },
      filters: [
        { values: { model: ['gpt-4o'] }, properties: { amount: '0.0000025' } },
        { values: { model: ['gpt-4o-mini'] }, properties: { amount: '0.00000015' } },
      ],
    });

    const before = writes().length;
    const again = await call('/provision?dry_run=false', plan);
    expect(again.body.applied).toBe(0);
    expect(new Set(again.body.changes.map(({ action }) => action))).toEqual(new Set(['unchanged']));
    expect(writes()).toHaveLength(before);
  });

  test('re-prices a model, adds another, and makes no charge anew', async () => {
    const call = await start(profile);
    await call('/provision?dry_run=false', plan);
    const ids = sandbox.catalog.plans[0]!.charges.map(({ lago_id: id }) => id);
    const dearer = plan.replace('gpt-4o-mini: 0.15', 'gpt-4o-mini: 0.20, mistral-nemo: 0.1');
    const shown = await call('/provision', dearer);
    expect(shown.body.changes.filter(({ action }) => action === 'update')).toEqual([
      expect.objectContaining({ kind: 'billable_metric', id: 'llm_input_tokens' }),
      {
        kind: 'charge',
        id: 'payg/llm_input_tokens',
        action: 'update',
        note: expect.stringMatching(/whole open period/),
        changes: {
          'filter {"model":["gpt-4o-mini"]}': { from: { amount: '0.00000015' }, to: { amount: '0.0000002' } },
          'filter {"model":["mistral-nemo"]}': { from: null, to: { amount: '0.0000001' } },
        },
      },
    ]);
    await call('/provision?dry_run=false', dearer);
    expect(sandbox.catalog.plans[0]!.charges.map(({ lago_id: id }) => id)).toEqual(ids);
    expect((await call('/provision', dearer)).body.changes.every(({ action }) => action === 'unchanged')).toBe(true);
  });

  test('adds a charge beside one that only Lago has, and leaves that one', async () => {
    const call = await start(profile);
    await call('/provision?dry_run=false', plan);
    const [cost, tokens] = sandbox.catalog.plans[0]!.charges;
    const other = `
version: 1
billable_metrics:
  - { code: calls, aggregation_type: count_agg }
plans:
  - code: payg
    amount_currency: USD
    charges:
      - { billable_metric: calls, charge_model: standard, properties: { amount: "0.01" } }
`;
    const done = await call('/provision?dry_run=false', other);
    expect(actions(done.body)).toEqual([
      'create billable_metric calls',
      'unchanged plan payg',
      'create charge payg/calls',
      'only_in_lago charge payg/llm_cost',
      'only_in_lago charge payg/llm_input_tokens',
    ]);
    expect(sandbox.catalog.plans[0]!.charges.slice(0, 2)).toEqual([cost, tokens]);
    expect(sandbox.catalog.plans[0]!.charges).toHaveLength(3);
  });
});

test('changes nothing where one thing would have to be made anew', async () => {
  const call = await start();
  await call('/provision?dry_run=false', plan);
  const before = structuredClone(sandbox.catalog.plans);
  const other = plan
    .replace('name: Acme', 'name: Acme Inc')
    .replace('cost_pass_through: { markup: 1.2 }', 'cost_pass_through: { charge_model: dynamic }');
  const refused = await call('/provision?dry_run=false', other);
  expect(refused).toMatchObject({
    status: 409,
    body: { code: 'plan_conflict', error: expect.stringMatching(/payg\/llm_cost/) },
  });
  expect(refused.body.changes.find(({ action }) => action === 'conflict')?.changes).toEqual({
    charge_model: { from: 'standard', to: 'dynamic' },
  });
  expect(sandbox.catalog.plans).toEqual(before);
  expect(sandbox.catalog.customers[0]).toMatchObject({ name: 'Acme' });
});

test('never moves a subscription to another plan, and says what Lago would do', async () => {
  const call = await start();
  await call('/provision?dry_run=false', plan);
  const other = plan.replace('code: payg', 'code: pro').replace('plan_code: payg', 'plan_code: pro');
  const refused = await call('/provision?dry_run=false', other);
  expect(refused.body.error).toMatch(/subscription acme: Lago would upgrade or downgrade/);
  expect(sandbox.catalog.subscriptions).toHaveLength(1);
});

test('says that a dynamic charge is too new for Lago 1.12.2', async () => {
  const call = await start('1.12');
  const dynamic = plan.replace('{ markup: 1.2 }', '{ charge_model: dynamic }');
  const shown = await call('/provision', dynamic);
  expect(shown.body.changes.find(({ id }) => id === 'payg/llm_cost')).toMatchObject({
    action: 'conflict',
    note: 'dynamic charges came with Lago 1.13.1, this is 1.12.2: use the standard charge model',
  });
  expect((await call('/provision?dry_run=false', dynamic)).status).toBe(409);
  expect(writes()).toEqual([]);
});

test('goes on where a failure stopped it', async () => {
  const call = await start();
  sandbox.faults.push({ kind: 'status', status: 500, method: 'POST', path: '/subscriptions$', times: 1 });
  expect((await call('/provision?dry_run=false', plan)).status).toBe(502);
  const charges = structuredClone(sandbox.catalog.plans[0]!.charges);
  expect((await call('/provision?dry_run=false', plan)).body).toMatchObject({ applied: 1 });
  expect(sandbox.catalog.plans[0]!.charges).toEqual(charges);
  expect(sandbox.catalog.subscriptions).toHaveLength(1);
});

test('wants to know the version where /health is somebody else', async () => {
  const call = await start();
  sandbox.faults.push({ kind: 'html', path: '^/health$' });
  expect(await call('/provision', plan)).toMatchObject({ status: 400, body: { code: 'lago_version_unknown' } });
  expect((await call('/provision', `lago_version: 1.39.0\n${plan}`)).status).toBe(200);
});

test("gives Lago's reason when it refuses something", async () => {
  const call = await start();
  const bad = plan.replace(
    'cost_pass_through: { markup: 1.2 }',
    'charge_model: standard, properties: { amount: lots }',
  );
  expect(await call('/provision?dry_run=false', bad)).toMatchObject({
    status: 502,
    body: { error: expect.stringContaining('invalid_amount') },
  });
});

test('of two at once one sets Lago up, and each charge is there once', async () => {
  const call = await start();
  const answers = await Promise.all([call('/provision?dry_run=false', plan), call('/provision?dry_run=false', plan)]);
  expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409]);
  expect(answers.find(({ status }) => status === 409)?.body).toMatchObject({ code: 'operation_in_progress' });
  expect(sandbox.catalog.plans).toHaveLength(1);
  expect(sandbox.catalog.plans[0]!.charges).toHaveLength(2);
});

test('whatever the prices are, Lago has them exactly, and a second run finds nothing to do', async () => {
  const price = fc.oneof(
    fc.double({ min: 0, max: 1000, noNaN: true }),
    fc.nat(10 ** 9).map((n) => (n / 10 ** 6).toFixed(6)),
    fc.constantFrom('0', '0.10', '1e-7', '00.5'),
  );
  const prices = fc.dictionary(fc.constantFrom('gpt-4o', 'o3', 'claude', 'a.b/c d', '"quoted"'), price);
  const call = await start('1.12');
  let number = 0;
  await fc.assert(
    fc.asyncProperty(prices, price, fc.constantFrom(1, 1_000, 1_000_000), async (byModel, fallback, per) => {
      number += 1;
      const file = {
        version: 1,
        billable_metrics: [{ code: `m${number}`, aggregation_type: 'sum_agg', field_name: 'value' }],
        plans: [
          {
            code: `p${number}`,
            amount_currency: 'USD',
            charges: [{ billable_metric: `m${number}`, model_prices: { per, prices: byModel, default: fallback } }],
          },
        ],
      };
      expect((await call('/provision?dry_run=false', file)).body.applied).toBe(2);
      expect((await call('/provision?dry_run=false', file)).body.applied).toBe(0);
      const [charge] = sandbox.catalog.plans.at(-1)!.charges;
      for (const { values, properties } of charge!.filters) {
        const [model = ''] = values.model ?? [];
        expect(Number(properties.amount) * per).toBeCloseTo(Number(byModel[model]), 9);
        expect(properties.amount).toMatch(/^\d+(\.\d+)?$/);
      }
    }),
    { numRuns: 40 },
  );
});
