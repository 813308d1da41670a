import { afterEach, describe, expect, it } from 'vitest';
import { createLitellmClient, type SpendRow } from '#shared/clients/litellm.ts';
import { type LitellmSandbox, type LitellmSandboxOptions, startLitellmSandbox } from '../../sandbox/litellm.ts';

const now = new Date('2026-11-21T06:30:00Z');
let sandbox: LitellmSandbox;
afterEach(() => sandbox?.close());

async function start(options: LitellmSandboxOptions) {
  sandbox = await startLitellmSandbox({ seed: 7, now: () => now, ...options });
  return connect();
}

const connect = (options: { apiKey?: string; utcOffsetMinutes?: number } = {}) =>
  createLitellmClient({
    baseUrl: sandbox.url,
    apiKey: () => options.apiKey ?? 'sk-sandbox',
    timeoutMs: 5_000,
    attempts: 1,
    utcOffsetMinutes: options.utcOffsetMinutes ?? 0,
  });

async function collect(rows: AsyncIterable<SpendRow>): Promise<SpendRow[]> {
  const found: SpendRow[] = [];
  for await (const row of rows) found.push(row);
  return found;
}

// biome-ignore lint/suspicious/noExplicitAny: bodies of many shapes
async function get(path: string, key = 'sk-sandbox'): Promise<{ status: number; body: any; headers: Headers }> {
  const response = await fetch(sandbox.url + path, { headers: { Authorization: `Bearer ${key}` } });
  return { status: response.status, body: await response.json(), headers: response.headers };
}

const window = { from: new Date('2026-10-20T10:00:00.500Z'), to: new Date('2026-11-20T22:00:00Z') };
const expectedIds = () =>
  sandbox.rows
    .filter((row) => new Date(row.startTime) >= window.from && new Date(row.startTime) < window.to)
    .map((row) => row.request_id);

describe('rows by windows', () => {
  it.each([
    ['1.79', '/spend/logs/ui'],
    ['1.101', '/spend/logs/v2'],
  ])('of %s come by %s, oldest first, each once', async (profile, route) => {
    const client = await start({ profile });
    const rows = await collect(client.spendRows(window));
    expect(rows.map(({ requestId }) => requestId)).toEqual(expectedIds());
    expect(sandbox.ledger.at(-1)?.path).toBe(route);
  });

  it('come raw by days where the pages are closed', async () => {
    const client = await start({ profile: '1.79' });
    sandbox.faults.push({ kind: 'status', status: 404, path: '/spend/logs/(v2|ui)', times: 10_000 });
    const rows = await collect(client.spendRows(window));
    expect(rows.map(({ requestId }) => requestId)).toEqual(expectedIds());
    const last = sandbox.ledger.at(-1);
    expect(last).toMatchObject({
      path: '/spend/logs',
      query: '?start_date=2026-11-20&end_date=2026-11-21&summarize=false',
    });
  });

  it('come raw without an order as they stream, and no row of the next midnight', async () => {
    const client = await start({ profile: '1.79' });
    sandbox.faults.push({ kind: 'status', status: 404, path: '/spend/logs/(v2|ui)', times: 10_000 });
    await collect(client.spendRows({ ...window, to: new Date('2026-10-20T12:00:00Z') }));
    const rows = await collect(client.spendRows({ ...window, order: 'any' }));
    expect(rows.map(({ requestId }) => requestId).sort()).toEqual(expectedIds().sort());
  });

  it('are refused by 1.53, which ignores summarize=false and gives a summary', async () => {
    const client = await start({ profile: '1.53' });
    await expect(collect(client.spendRows(window))).rejects.toMatchObject({
      status: 404,
      advice: expect.stringContaining('1.59'),
    });
  });

  it('are refused where the raw route stops at 10,000', async () => {
    const client = await start({ profile: '1.101' });
    for (let index = 0; index < 10_100; index++) {
      sandbox.addRow({ request_id: `busy-${index}`, startTime: '2026-11-19T10:00:00Z' });
    }
    sandbox.faults.push({ kind: 'status', status: 404, path: '/spend/logs/(v2|ui)', times: 10_000 });
    const day = { from: new Date('2026-11-19T00:00:00Z'), to: new Date('2026-11-20T00:00:00Z') };
    await expect(collect(client.spendRows(day))).rejects.toMatchObject({
      failure: 'invalid_response',
      advice: expect.stringContaining('10,000'),
    });
  });

  it('are all there above the total that stops at 10,000, and in a second whose pages shift', async () => {
    const client = await start({ profile: '1.101' });
    sandbox.rows.length = 0;
    for (let index = 0; index < 10_500; index++) {
      const startTime = new Date(Date.parse('2026-11-19T10:00:00Z') + index * 200).toISOString();
      sandbox.addRow({ request_id: `spread-${index}`, startTime });
    }
    for (let index = 0; index < 2_100; index++) {
      sandbox.addRow({ request_id: `crowd-${index}`, startTime: '2026-11-19T22:00:00.000Z' });
    }
    const rows = await collect(client.spendRows(window));
    expect(rows).toHaveLength(12_600);
    expect(new Set(rows.map(({ requestId }) => requestId)).size).toBe(12_600);
  });

  it('are halved when a window takes too long', async () => {
    const client = await start({ profile: '1.101' });
    sandbox.faults.push({ kind: 'status', status: 504, path: '/spend/logs/v2', times: 2 });
    const rows = await collect(client.spendRows(window));
    expect(rows.map(({ requestId }) => requestId)).toEqual(expectedIds());
  });

  it('fail soon where every window fails', async () => {
    const client = await start({ profile: '1.101' });
    sandbox.faults.push({ kind: 'status', status: 500, times: 10_000 });
    await expect(collect(client.spendRows(window))).rejects.toMatchObject({ status: 500 });
    expect(sandbox.ledger.length).toBeLessThan(10);
  });

  it('are in true UTC where the host stored its own time', async () => {
    await start({ profile: '1.79', utcOffsetMinutes: 120 });
    const shifted = await collect(connect().spendRows(window));
    expect(shifted.map(({ requestId }) => requestId)).not.toEqual(expectedIds());
    const rows = await collect(connect({ utcOffsetMinutes: 120 }).spendRows(window));
    expect(rows.map(({ requestId }) => requestId)).toEqual(expectedIds());
    const first = sandbox.rows.find((row) => row.request_id === rows[0]?.requestId);
    expect(rows[0]?.startTime.toISOString()).toBe(first?.startTime);
  });
});

describe('every row in one answer', () => {
  const all = async () => {
    const rows: SpendRow[] = [];
    for await (const batch of connect().allRowBatches()) rows.push(...batch);
    return rows;
  };

  it.each(['1.53', '1.79'])('is whole on %s', async (profile) => {
    await start({ profile });
    expect(await all()).toHaveLength(sandbox.rows.length);
  });

  it('is refused when it was cut at 10,000', async () => {
    await start({ profile: '1.101' });
    for (let index = 0; index < 9_000; index++) sandbox.addRow({ request_id: `x-${index}`, startTime: '2026-11-19' });
    await expect(all()).rejects.toMatchObject({ failure: 'invalid_response' });
  });

  it('is refused when the connection was cut', async () => {
    await start({ profile: '1.53' });
    sandbox.faults.push({ kind: 'cut', afterBytes: 50_000 });
    await expect(all()).rejects.toMatchObject({ failure: 'network' });
  });
});

describe('the versions', () => {
  it('differ in routes, columns and pages', async () => {
    await start({ profile: '1.53' });
    expect((await get('/spend/logs/v2?start_date=2026-11-01&end_date=2026-11-02')).status).toBe(404);
    expect((await get('/user/daily/activity?start_date=2026-11-01&end_date=2026-11-02')).status).toBe(404);
    expect((await get('/spend/logs?request_id=nobody')).body).toEqual([null]);
    expect((await get('/spend/logs')).body[0]).not.toHaveProperty('status');
    const key = sandbox.rows[0]!.api_key;
    const both = await get(`/spend/logs?start_date=2026-11-01&end_date=2026-11-02&api_key=${key}&user_id=nobody`);
    expect(both.body.length).toBeGreaterThan(0);
    await sandbox.close();

    await start({ profile: '1.79' });
    const dates = 'start_date=2026-11-01 00:00:00&end_date=2026-11-20 00:00:00';
    expect((await get(`/spend/logs/ui?${dates}&page_size=101`)).status).toBe(422);
    const page = (await get(`/spend/logs/ui?${dates}&sort_by=startTime&sort_order=asc`)).body;
    expect(page).not.toHaveProperty('total_is_capped');
    expect(page.data[0].startTime > page.data[9].startTime).toBe(true);
    expect((await get('/user/daily/activity/aggregated?start_date=2026-11-01&end_date=2026-11-02')).status).toBe(404);
  });

  it.each(['1.53', '1.79', '1.101'])('of %s show an internal user its own rows and do not say so', async (profile) => {
    await start({ profile });
    const days = await connect({ apiKey: 'sk-alice' }).spendByDay({ start: '2026-11-01', end: '2026-11-21' });
    expect([...new Set(days.flatMap(({ users }) => [...users.keys()]))]).toEqual(['alice']);
    expect(await connect({ apiKey: 'sk-alice' }).ownScope()).toEqual({ sees: 'one user', userId: 'alice' });
    expect(await connect({ apiKey: 'sk-auditor' }).ownScope()).toEqual({ sees: 'everything' });
    expect(await connect().ownScope()).toEqual({ sees: 'everything' });
  });

  it('refuse a key over its budget, and want a database', async () => {
    await start({ profile: '1.53' });
    const dates = { start: '2026-11-01', end: '2026-11-21' };
    await expect(connect({ apiKey: 'sk-spent' }).spendByDay(dates)).rejects.toMatchObject({
      status: 400,
      advice: expect.stringContaining('budget'),
    });
    await sandbox.close();
    const client = await start({ database: false });
    await expect(client.spendByDay(dates)).rejects.toMatchObject({ advice: 'connect LiteLLM to its database' });
    await expect(collect(client.spendRows(window))).rejects.toMatchObject({
      advice: 'connect LiteLLM to its database',
    });
  });

  it('write a row some time after its request ended', async () => {
    await start({ writeLagMs: 60_000 });
    sandbox.addRow({ request_id: 'late', startTime: '2026-11-21T06:28:00Z', endTime: '2026-11-21T06:29:30Z' });
    const recent = () => get('/spend/logs/v2?start_date=2026-11-21 06:28:00&end_date=2026-11-21 06:30:00');
    expect((await recent()).body.data).toEqual([]);
  });

  it('know nothing in their daily tables from before the upgrade, and keep there what the logs have lost', async () => {
    const client = await start({ dailySince: '2026-10-15T12:00:00Z', keptSince: '2026-11-01T00:00:00Z' });
    const { days } = await client.aggregatedActivity({ start: '2026-09-01', end: '2026-11-01' });
    expect(days.at(-1)?.day).toBe('2026-10-15');
    expect(await client.spendByDay({ start: '2026-09-01', end: '2026-11-01' })).toEqual([]);
  });

  it('call 30 days global, and ask for a licence', async () => {
    await start({});
    const since = '2026-10-22';
    const sum = sandbox.rows.filter((row) => row.startTime >= since).reduce((total, row) => total + row.spend, 0);
    expect((await get('/global/spend')).body.spend).toBeCloseTo(sum, 9);
    expect((await get('/global/spend/report')).body.detail.error).toContain('Enterprise');
  });

  it('name keys, users and teams', async () => {
    const client = await start({ profile: '1.53' });
    expect((await client.keys()).map(({ alias }) => alias)).toContain('alice-notebook');
    expect(await client.users()).toContainEqual({ id: 'alice', email: 'alice@example.com' });
    expect(await client.teams()).toContainEqual({ id: 'team-research', alias: 'Research' });
  });
});
