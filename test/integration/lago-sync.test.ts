import { afterEach, describe, expect, test } from 'vitest';
import { type LagoSandbox, startLagoSandbox } from '../../sandbox/lago.ts';
import { type LitellmSandbox, startLitellmSandbox } from '../../sandbox/litellm.ts';
import { type LagoFunction, startLagoFunction } from '../support/lago-function.ts';

let lago: LagoSandbox;
let litellm: LitellmSandbox;
let own: LagoFunction;
afterEach(async () => {
  await lago.close();
  await litellm.close();
  await own.close();
});

const now = () => new Date('2026-11-21T12:00:00Z');
const plans = `
version: 1
plans: [{ code: payg, amount_currency: USD }, { code: pro, amount_currency: USD }]
subscriptions:
  - { external_id: left-over, external_customer_id: left-over, plan_code: payg }
`;

async function start(profile: string, env: Record<string, string> = {}) {
  lago = await startLagoSandbox({ profile, now });
  litellm = await startLitellmSandbox({ now });
  own = startLagoFunction({
    lagoUrl: lago.url,
    litellmUrl: litellm.url,
    env: { BILL_FROM: '2026-11-01', ...env },
  });
  const call = (url: string, body: unknown) => own.call('POST', url, body);
  expect(await call('/provision?dry_run=false', plans)).toMatchObject({ status: 200 });
  lago.ledger.length = 0;
  return call;
}

const rule = { for: 'team', plan_code: 'payg', rules: [{ match: 'team-res*', plan_code: 'pro' }] };
const writes = () => lago.ledger.filter(({ method }) => method !== 'GET');

describe.each(['1.12', '1.33', '1.39', 'clickhouse'])('Lago %s', (profile) => {
  test("gives LiteLLM's teams their subscriptions by the rule, after a dry run that changes nothing", async () => {
    const call = await start(profile);
    const shown = {
      accounts: 2,
      unchanged: 0,
      only_in_litellm: [
        { external_id: 'team-research', name: 'Research', plan_code: 'pro' },
        { external_id: 'team-product', name: 'Product', plan_code: 'payg' },
      ],
      only_in_lago: [{ external_id: 'left-over', external_customer_id: 'left-over', plan_code: 'payg' }],
      other_plan: [],
      skipped: [],
      conflicts: [],
    };
    expect(await call('/sync', rule)).toEqual({
      status: 200,
      body: { dry_run: true, complete: true, ...shown, applied: 0 },
    });
    expect(writes()).toEqual([]);
    expect(await call('/sync?dry_run=false', rule)).toEqual({
      status: 200,
      body: { dry_run: false, complete: true, ...shown, applied: 4 },
    });
    expect(lago.catalog.subscriptions.slice(1)).toMatchObject([
      { external_id: 'team-research', plan_code: 'pro', started_at: '2026-11-01T00:00:00.000Z' },
      { external_id: 'team-product', plan_code: 'payg', external_customer_id: 'team-product' },
    ]);
    expect(lago.catalog.customers.map(({ name }) => name)).toEqual([null, 'Research', 'Product']);

    const before = writes().length;
    const again = await call('/sync?dry_run=false', rule);
    expect(again.body).toMatchObject({ unchanged: 2, only_in_litellm: [], applied: 0 });
    expect(writes()).toHaveLength(before);
  });
});

test('reports another plan, moves nobody and ends nothing', async () => {
  const call = await start('1.39');
  await call('/sync?dry_run=false', rule);
  const before = structuredClone(lago.catalog.subscriptions);
  const answer = await call('/sync?dry_run=false', { for: 'team', plan_code: 'payg' });
  expect(answer.body).toMatchObject({
    unchanged: 1,
    other_plan: [{ external_id: 'team-research', plan_code: 'pro', rule_says: 'payg' }],
    applied: 0,
  });
  expect(lago.catalog.subscriptions).toEqual(before);
});

test.each([
  ['user', ['alice', 'bob', 'carol', 'default_user_id', 'auditor']],
  ['key', ['alice-notebook', 'bob-cli', 'chatbot', 'n8n', 'auditor', 'spent']],
  ['end_user', ['acme', 'globex', 'initech', 'umbrella']],
])('finds each %s', async (kind, ids) => {
  const call = await start('1.39');
  const answer = await call('/sync', { for: kind, plan_code: 'payg' });
  const found = (answer.body as { only_in_litellm: { external_id: string }[] }).only_in_litellm;
  expect(found.map((item) => item.external_id).toSorted()).toEqual(ids.toSorted());
});

test('leaves out one who was ended in Lago, tells why, and goes on with the others', async () => {
  const call = await start('1.39');
  await call('/sync?dry_run=false', rule);
  lago.catalog.subscriptions.find((item) => item.external_id === 'team-product')!.status = 'terminated';
  lago.catalog.subscriptions.splice(1, 1);
  const answer = await call('/sync?dry_run=false', rule);
  expect(answer.body).toMatchObject({
    conflicts: [{ kind: 'subscription', id: 'team-product', note: expect.stringMatching(/^it ended/) }],
    applied: 1,
  });
});

test('refuses a plan that Lago does not have, and a rule that does not say from when', async () => {
  const call = await start('1.39', { BILL_FROM: '' });
  expect(await call('/sync', { ...rule, plan_code: 'none', subscription_at: '2026-11-01' })).toMatchObject({
    status: 400,
    body: { code: 'unknown_plan' },
  });
  expect(await call('/sync', rule)).toMatchObject({ status: 400, body: { code: 'bad_rule' } });
});

test('makes the subscription that the mapping names, which is the one that the push bills', async () => {
  const map = { 'team-research': 'sub_research' };
  const call = await start('1.39', { SUBSCRIPTION_MAP: JSON.stringify(map), LAGO_API_CHARGE_BY: 'team' });
  const answer = await call('/sync', { for: 'team', plan_code: 'payg' });
  expect(answer.body).toMatchObject({
    only_in_litellm: [{ external_id: 'sub_research', name: 'Research', plan_code: 'payg' }],
    skipped: [{ id: 'team-product', reason: 'not_in_map' }],
  });
});
