import { afterEach, beforeEach, expect, test } from 'vitest';
import { type LitellmSandbox, startLitellmSandbox } from '../../sandbox/litellm.ts';
import { createLitellmClient, type SpendRow } from '../../shared/clients/litellm.ts';
import { UpstreamError } from '../../shared/errors.ts';
import { parseUsd } from '../../shared/money.ts';

const now = new Date('2026-11-21T06:30:00Z');
let sandbox: LitellmSandbox;

beforeEach(async () => {
  sandbox = await startLitellmSandbox({ seed: 7, now: () => now });
});
afterEach(() => sandbox.close());

function connect(options: { apiKey?: string; timeoutMs?: number; attempts?: number } = {}) {
  const { apiKey = sandbox.credentials.LITELLM_API_KEY, timeoutMs = 5_000, attempts = 1 } = options;
  return createLitellmClient({ baseUrl: sandbox.url, apiKey: () => apiKey, timeoutMs, attempts });
}

async function collect(rows: AsyncIterable<SpendRow>): Promise<SpendRow[]> {
  const found: SpendRow[] = [];
  for await (const row of rows) found.push(row);
  return found;
}

const sumOfDay = (day: string) =>
  sandbox.rows.filter((row) => row.startTime.startsWith(day)).reduce((sum, row) => sum + parseUsd(row.spend), 0n);

async function failureOf(call: Promise<unknown>): Promise<UpstreamError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UpstreamError);
  return error as UpstreamError;
}

test('gives each day of a half-open window exactly what its rows cost', async () => {
  const days = await connect().spendByDay({ start: '2026-10-01', end: '2026-11-22' });
  expect(days.length).toBeGreaterThan(40);
  for (const { day, spend } of days) expect({ day, spend }).toEqual({ day, spend: sumOfDay(day) });
  expect(days.at(-1)?.day).toBe('2026-11-21');
  expect(sumOfDay('2026-11-21')).toBeGreaterThan(0n);
});

test('drops the end day, though a row at its midnight comes back with it', async () => {
  const midnight = sandbox.rows.find((row) => row.startTime === '2026-11-01T00:00:00.000Z');
  expect(midnight).toBeDefined();
  const days = await connect().spendByDay({ start: '2026-10-01', end: '2026-11-01' });
  expect(days.every(({ day }) => day < '2026-11-01')).toBe(true);
  const next = await connect().spendByDay({ start: '2026-11-01', end: '2026-11-02' });
  expect(next).toMatchObject([{ day: '2026-11-01', spend: sumOfDay('2026-11-01') }]);
});

test('gives no days for a window without rows', async () => {
  expect(await connect().spendByDay({ start: '2020-01-01', end: '2020-02-01' })).toEqual([]);
});

test('sends the key as a bearer token and asks for a summary', async () => {
  await connect().spendByDay({ start: '2026-11-01', end: '2026-11-02' });
  expect(sandbox.ledger.at(-1)).toMatchObject({
    method: 'GET',
    path: '/spend/logs',
    query: '?start_date=2026-11-01&end_date=2026-11-02&summarize=true',
    headers: { authorization: '[present]' },
    status: 200,
  });
});

test('gives every row of a window once, oldest first, with exact money', async () => {
  const [from, to] = [new Date('2026-09-30T23:59:59.500Z'), new Date('2026-11-21T06:00:00.250Z')];
  const rows = await collect(connect().spendRows({ from, to }));
  const expected = sandbox.rows.filter((row) => new Date(row.startTime) >= from && new Date(row.startTime) < to);
  expect(expected.length).toBeGreaterThan(800);
  expect(rows.map((row) => row.requestId).sort()).toEqual(expected.map((row) => row.request_id).sort());
  expect(rows.map((row) => row.startTime.getTime())).toEqual(
    rows.map((row) => row.startTime.getTime()).sort((left, right) => left - right),
  );
  const wanted = expected.reduce((sum, row) => sum + parseUsd(row.spend), 0n);
  expect(rows.reduce((sum, row) => sum + row.spend, 0n)).toBe(wanted);
});

test('halves a window that does not fit a page, and pages a second that does not', async () => {
  sandbox.rows.length = 0;
  for (let index = 0; index < 2_300; index++) {
    sandbox.addRow({ request_id: `burst-${index}`, startTime: '2026-11-20T12:00:00.000Z', spend: 1e-7 });
  }
  sandbox.addRow({ request_id: 'edge', startTime: '2026-11-20T12:00:01.000Z', spend: 1 });
  const window = { from: new Date('2026-11-20T11:59:58Z'), to: new Date('2026-11-20T12:00:01Z') };
  const rows = await collect(connect().spendRows(window));
  expect(rows).toHaveLength(2_300);
  expect(rows.reduce((sum, row) => sum + row.spend, 0n)).toBe(parseUsd('0.00023'));
  expect(sandbox.ledger.some(({ query }) => query.includes('page=3'))).toBe(true);
});

test('reads a row as it is meant: absent team, cached answer, alias, model', async () => {
  sandbox.rows.length = 0;
  sandbox.addRow({
    request_id: 'one',
    startTime: '2026-11-20T12:00:00.120Z',
    endTime: '2026-11-20T12:00:02.000Z',
    spend: 0.000000075,
    prompt_tokens: 17,
    completion_tokens: 83,
    end_user: 'acme',
    team_id: '',
    cache_hit: 'True',
    status: null,
    metadata: { user_api_key_alias: 'chatbot' },
  });
  const window = { from: new Date('2026-11-20T12:00:00Z'), to: new Date('2026-11-20T13:00:00Z') };
  expect(await collect(connect().spendRows(window))).toMatchObject([
    {
      requestId: 'one',
      startTime: new Date('2026-11-20T12:00:00.120Z'),
      endTime: new Date('2026-11-20T12:00:02Z'),
      spend: 75_000n,
      promptTokens: 17,
      completionTokens: 83,
      totalTokens: 100,
      endUser: 'acme',
      teamId: null,
      isCacheHit: true,
      status: 'success',
      keyAlias: 'chatbot',
    },
  ]);
});

test('falls back to /spend/logs/ui where v2 is not there yet', async () => {
  sandbox.faults.push({ kind: 'status', status: 404, path: '/spend/logs/v2', times: 1 });
  const window = { from: new Date('2026-11-20T00:00:00Z'), to: new Date('2026-11-21T00:00:00Z') };
  const rows = await collect(connect().spendRows(window));
  expect(rows.length).toBeGreaterThan(5);
  expect(sandbox.ledger.map(({ path }) => path)).toEqual(['/spend/logs/v2', '/spend/logs/ui']);
});

test('asks for smaller pages where LiteLLM refuses large ones', async () => {
  sandbox.faults.push({ kind: 'status', status: 422, path: '/spend/logs/v2', times: 1 });
  const window = { from: new Date('2026-11-20T00:00:00Z'), to: new Date('2026-11-21T00:00:00Z') };
  const rows = await collect(connect().spendRows(window));
  expect(rows).toHaveLength(sandbox.rows.filter((row) => row.startTime.startsWith('2026-11-20')).length);
  expect(sandbox.ledger.at(-1)?.query).toContain('page_size=100&');
});

test('says which key to check when LiteLLM refuses it', async () => {
  const error = await failureOf(connect({ apiKey: 'sk-wrong' }).spendByDay({ start: '2026-11-01', end: '2026-11-02' }));
  expect(error).toMatchObject({ failure: 'status', status: 401 });
  expect(error.advice).toContain('check LITELLM_API_KEY: it must be the master key or a proxy_admin_viewer key');
});

test.each([
  ['html', 'invalid_response', 'LITELLM_API_BASE_URL'],
  ['cut', 'network', 'LITELLM_API_BASE_URL'],
  ['reset', 'network', 'LITELLM_API_BASE_URL'],
  ['hang', 'timeout', 'LITELLM_TIMEOUT_MS'],
  ['status', 'status', "LiteLLM's log"],
] as const)('turns the fault %s into %s with advice on %s', async (kind, failure, advice) => {
  sandbox.faults.push({ kind, afterBytes: 10 });
  const error = await failureOf(connect({ timeoutMs: 300 }).spendByDay({ start: '2026-11-01', end: '2026-11-22' }));
  expect(error.failure).toBe(failure);
  expect(error.advice).toContain(advice);
});

test('waits as Retry-After asks and tries again', async () => {
  sandbox.faults.push({ kind: 'rate-limit', retryAfterS: 2, times: 1 });
  const waits: number[] = [];
  const client = createLitellmClient({
    baseUrl: sandbox.url,
    apiKey: () => 'sk-sandbox',
    timeoutMs: 5_000,
    sleep: async (ms) => void waits.push(ms),
  });
  const days = await client.spendByDay({ start: '2026-11-20', end: '2026-11-21' });
  expect(days).toMatchObject([{ day: '2026-11-20', spend: sumOfDay('2026-11-20') }]);
  expect(waits).toEqual([2_000]);
});
