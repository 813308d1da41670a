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

test.each(['1.12', '1.33', '1.39'])(
  'finds the one event that Lago %s answers 500 to for good, by halves, and delivers all the others',
  async (profile) => {
    const client = await start(profile);
    sandbox.faults.push({ kind: 'status', status: 500, body: '"poison"', method: 'POST', times: 1e6 });
    const result = await client.sendBatch([...range(60), event('poison'), ...range(39, 60)]);
    expect(result.rejected).toEqual([{ transactionId: 'poison', reason: 'answered 500 for good' }]);
    expect(storedIds()).toEqual(ids(range(99)));
    expect(sandbox.events.filter(({ unprocessed }) => unprocessed)).toEqual([]);
    expect(sandbox.ledger.length).toBeLessThan(50);
  },
);

test('takes a 500 that passes for no refusal', async () => {
  const client = await start();
  sandbox.faults.push({ kind: 'status', status: 500, times: 1 });
  expect((await client.sendBatch(range(3))).delivered).toHaveLength(3);
  expect(sandbox.ledger).toHaveLength(2);
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

describe('a 200 that is not from Lago', () => {
  test('stores nothing: the events are sent again, and fail when nothing else comes', async () => {
    const client = await start();
    sandbox.faults.push({ kind: 'html', times: 1 });
    expect((await client.sendBatch(range(2))).delivered).toEqual(['t0', 't1']);
    sandbox.faults.push({ kind: 'html', times: 9 });
    await expect(client.sendBatch(range(2, 2))).rejects.toMatchObject({ failure: 'invalid_response' });
  });

  test.each(['1.12', '1.33'])('is no event that Lago %s has, however it is asked', async (profile) => {
    const client = await start(profile);
    await client.sendBatch(range(1));
    sandbox.faults.push({ kind: 'html', times: 2, path: '/events' });
    expect([...(await client.findStored(range(3)))]).toEqual(['t0']);
    sandbox.faults.push({ kind: 'html', times: 99, path: '/events' });
    await expect(client.findStored(range(3))).rejects.toMatchObject({ failure: 'invalid_response' });
  });
});

describe('events of which Lago 1.33 may have some', () => {
  const known = (count: number) => expect(sandbox.events.filter(({ unprocessed }) => unprocessed)).toHaveLength(count);

  test('go beside no known one, in a batch after one look at its list', async () => {
    const client = await start('1.33');
    await client.sendBatch(range(5));
    const { delivered, alreadyThere } = await client.sendDoubtful(range(10));
    expect([delivered.sort(), alreadyThere.sort()]).toEqual([ids(range(5, 5)), ids(range(5))]);
    expect(sandbox.ledger.map(({ method }) => method)).toEqual(['POST', 'GET', 'POST']);
    known(0);
  });

  test('go one by one where too much lies between them, and one answer that fails keeps none of the others', async () => {
    const client = await start('1.33');
    const spread = (at: number) => ({ timestamp: String(1_795_000_000 + at) });
    const between = Array.from({ length: 2_100 }, (_, at) => event(`between${at}`, spread(at)));
    await client.sendBatch([...between, event('a', spread(0))]);
    const from = sandbox.ledger.length;
    sandbox.faults.push({ kind: 'status', status: 500, path: '/events', times: 2 });
    const result = await client.sendDoubtful([event('a', spread(0)), event('b', spread(2_200)), event('c', spread(9))]);
    expect(result).toEqual({ delivered: ['b', 'c'], alreadyThere: ['a'], rejected: [], unprocessed: [] });
    expect(sandbox.ledger.slice(from).map(({ method, path }) => `${method} ${path.slice(7)}`)).toEqual([
      ...Array(3).fill('GET /events'),
      ...Array(3).fill('POST /events'),
    ]);
    known(0);
  });

  test('spoil each other when they are sent as if Lago had none of them', async () => {
    const client = await start('1.33');
    await client.sendBatch(range(5));
    expect((await client.sendBatch(range(10))).unprocessed).toHaveLength(5);
    known(5);
  });
});
