import { afterEach, describe, expect, test } from 'vitest';
import { createLagoClient, type LagoEvent } from '#shared/clients/lago.ts';
import { type LagoSandbox, startLagoSandbox } from '../../sandbox/lago.ts';

let sandbox: LagoSandbox;
afterEach(() => sandbox.close());

async function start(profile = '1.39', options: { path?: string; apiKey?: string } = {}) {
  sandbox = await startLagoSandbox({ profile });
  return createLagoClient({
    baseUrl: sandbox.url + (options.path ?? ''),
    apiKey: () => options.apiKey ?? 'lago-sandbox',
    timeoutMs: 5_000,
    sleep: async () => undefined,
  });
}

const event = (id: string, changes: Partial<LagoEvent> = {}): LagoEvent => ({
  transaction_id: id,
  external_subscription_id: 'acme',
  code: 'llm',
  timestamp: '1795000000.123',
  properties: { response_cost: '0.00000015' },
  ...changes,
});
const range = (count: number, from = 0) => Array.from({ length: count }, (_, index) => event(`t${from + index}`));
const storedIds = () => sandbox.events.map(({ transaction_id: id }) => id).sort();
const ids = (events: LagoEvent[]) => events.map(({ transaction_id: id }) => id).sort();
const bad = event('bad', { timestamp: '2026-11-01T00:00:00Z' });

test.each(['', '/api/v1', '/api/v1/'])('sends the events as they are to a base that ends in "%s"', async (path) => {
  const client = await start('1.39', { path });
  expect(await client.sendBatch([event('a')])).toEqual({
    delivered: ['a'],
    alreadyThere: [],
    rejected: [],
    unprocessed: [],
  });
  expect(sandbox.ledger.map((call) => `${call.method} ${call.path}`)).toEqual(['POST /api/v1/events/batch']);
  expect(JSON.parse(sandbox.ledger[0]?.body ?? '')).toEqual({ events: [event('a')] });
  expect(sandbox.events[0]).toMatchObject({ timestamp: '2026-11-18T11:06:40.123Z' });
});

test('cuts into batches of a hundred', async () => {
  const client = await start();
  const result = await client.sendBatch(range(250));
  expect(result.delivered).toHaveLength(250);
  expect(sandbox.ledger.map(({ body }) => JSON.parse(body).events.length)).toEqual([100, 100, 50]);
});

describe.each(['1.12', '1.33', '1.39', 'clickhouse'])('Lago %s', (profile) => {
  test('ends with each event once, whatever was there before and however often one is repeated', async () => {
    const client = await start(profile);
    await client.sendBatch(range(5));
    const result = await client.sendBatch([...range(10), ...range(10)]);
    expect(storedIds()).toEqual(ids(range(10)));
    expect(result.rejected).toEqual([]);
    expect([...result.delivered, ...result.alreadyThere].sort()).toEqual(ids(range(10)));
    expect((await client.sendBatch(range(10))).rejected).toEqual([]);
    expect(storedIds()).toEqual(ids(range(10)));
  });

  test('counts an event as delivered when the first try was stored and its answer was lost', async () => {
    const client = await start(profile);
    sandbox.faults.push({ kind: 'cut', times: 1, afterBytes: 10 });
    const { delivered, alreadyThere, rejected } = await client.sendBatch(range(3));
    expect([...delivered, ...alreadyThere].sort()).toEqual(ids(range(3)));
    expect(rejected).toEqual([]);
    expect(storedIds()).toEqual(ids(range(3)));
  });
});

test.each(['1.33', '1.39', 'clickhouse'])(
  'singles out the one bad event of a batch with its reason, Lago %s',
  async (profile) => {
    const client = await start(profile);
    const result = await client.sendBatch([...range(4), bad, ...range(4, 4)]);
    expect(result.rejected).toEqual([{ transactionId: 'bad', reason: '{"timestamp":["invalid_format"]}' }]);
    expect(storedIds()).toEqual(ids(range(8)));
  },
);

test('sends one by one where a whole batch is answered 500', async () => {
  const client = await start();
  sandbox.faults.push({ kind: 'status', status: 500, path: '/events/batch$', times: 1 });
  const result = await client.sendBatch([...range(3), bad]);
  expect(result.delivered).toEqual(['t0', 't1', 't2']);
  expect(result.rejected.map(({ transactionId }) => transactionId)).toEqual(['bad']);
});

test('halves a batch that is too many for this Lago', async () => {
  const client = await start();
  let answered = 0;
  sandbox.faults.push({ kind: 'status', status: 422, path: '/events/batch$', times: 1 });
  const result = await client.sendBatch(range(10));
  for (const { body } of sandbox.ledger) answered += JSON.parse(body).events.length;
  expect(result.delivered).toHaveLength(10);
  expect(answered).toBe(20);
});

test('tries again after 429, 503 and a reset', async () => {
  const client = await start();
  sandbox.faults.push({ kind: 'rate-limit', times: 1 }, { kind: 'reset', times: 1 });
  expect((await client.sendBatch(range(2))).delivered).toHaveLength(2);
  expect(sandbox.ledger.map(({ fault }) => fault)).toEqual(['rate-limit', 'reset', undefined]);
});

test('fails with 401 at once and shows no key', async () => {
  const client = await start('1.39', { apiKey: 'wrong-key-4711' });
  const failure = await client.sendBatch(range(2)).catch((error: unknown) => error);
  expect(failure).toMatchObject({ service: 'Lago', failure: 'status', status: 401 });
  expect(JSON.stringify(failure) + String(failure)).not.toContain('4711');
  expect(sandbox.ledger).toHaveLength(1);
});

test('takes a 200 that is not from Lago for a failure', async () => {
  const client = await start();
  sandbox.faults.push({ kind: 'html', times: 1 });
  await expect(client.sendBatch(range(2))).rejects.toMatchObject({ failure: 'invalid_response' });
});
