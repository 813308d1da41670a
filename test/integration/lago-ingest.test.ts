import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openStore } from '#shared/store/open.ts';
import type { Store } from '#shared/store/store.ts';
import { type LagoSandbox, startLagoSandbox } from '../../sandbox/lago.ts';
import { completeRow } from '../../sandbox/litellm/rows.ts';
import { type LitellmSandbox, startLitellmSandbox } from '../../sandbox/litellm.ts';
import { until } from '../support/bundle-process.ts';
import { toPayload } from '../support/litellm-payload.ts';
import { startDatabase, startPush } from '../support/push.ts';

let database: Awaited<ReturnType<typeof startDatabase>>;
let litellm: LitellmSandbox;
let lago: LagoSandbox;
let time = 0;
let count = 0;
const now = () => time;
beforeAll(async () => {
  database = await startDatabase();
}, 60_000);
afterAll(() => database.close());
beforeEach(async () => {
  time = Date.parse('2026-11-20T12:00:00Z');
  litellm = await startLitellmSandbox({ now: () => new Date(now()) });
  litellm.rows.length = 0;
  lago = await startLagoSandbox({ now: () => new Date(now()) });
});
afterEach(() => Promise.all([litellm.close(), lago.close()]));

const durable = () => database.open(`ingest-${count++}`, now);
const start = (store: Store, env: Record<string, string> = {}) =>
  startPush({
    litellmUrl: litellm.url,
    lagoUrl: lago.url,
    now,
    store,
    env: { BILL_FROM: '2026-11-01', ...env },
  });
const rowsOf = (size: number, from = 0) =>
  Array.from({ length: size }, (_, at) =>
    completeRow({
      request_id: `call-${from + at}`,
      startTime: new Date(time - 3_600_000 + (from + at) * 37).toISOString(),
      spend: (at + 1) * 1.5e-7,
      end_user: `customer-${at % 5}`,
    }),
  );
const json = (value: unknown) => ({ method: 'POST', url: '/webhook', body: JSON.stringify(value) });
const billed = (size: number) => until(`${size} events`, () => (lago.events.length >= size ? true : undefined));

describe('POST /webhook with a lasting store', () => {
  test('takes a batch of 512 with nulls and bills it once, with its rows and its repetition beside it', async () => {
    const rows = rowsOf(512);
    for (const row of rows) litellm.addRow(row);
    const push = start(durable());
    const body = [null, ...rows.map((row) => toPayload(row)), null];
    expect(await push.call(json(body))).toEqual({ status: 200, body: { accepted: 512, duplicates: 0 } });
    expect((await push.call(json(body))).status).toBe(200);
    await billed(512);
    await push.close();
    const again = start(durable());
    const summary = await again.pushAll();
    expect(summary).toMatchObject({ rows: 512, sent: 0, already_there: 512, dead: [] });
    expect(lago.events).toHaveLength(512);
    await again.close();
  });

  test('takes several megabytes of messages, and lines as well as arrays', async () => {
    const push = start(durable());
    const heavy = rowsOf(100).map((row) => ({ ...toPayload(row), messages: 'x'.repeat(60_000) }));
    expect((await push.call(json(heavy))).body).toEqual({ accepted: 100, duplicates: 0 });
    const lines = rowsOf(5, 100).map((row) => JSON.stringify(toPayload(row, true)));
    const call = { method: 'POST', url: '/webhook', body: lines.join('\n') };
    expect((await push.call(call)).body).toEqual({ accepted: 5, duplicates: 0 });
    await billed(105);
    await push.close();
  });

  test('answers before Lago has it, keeps it while Lago is down, and bills it later', async () => {
    const store = durable();
    lago.faults.push({ kind: 'status', status: 503, times: 1e6 });
    const push = start(store);
    expect((await push.call(json([toPayload(rowsOf(1)[0]!)]))).status).toBe(200);
    await push.close();
    lago.faults.length = 0;
    const next = start(store);
    expect(await next.pushAll()).toMatchObject({ inbox: 1, sent: 1 });
    await next.close();
  });

  test.each([
    ['what is not JSON', '{"id":', 400],
    ['one bad item among good ones', JSON.stringify([toPayload(rowsOf2()), { id: 'x' }]), 400],
    ['more bytes than are allowed', 'x'.repeat(2_000), 413],
  ])('applies nothing of %s', async (_, body, status) => {
    const push = start(durable(), { MAX_WEBHOOK_BYTES: '1900' });
    expect((await push.call({ method: 'POST', url: '/webhook', body })).status).toBe(status);
    expect(await push.pushAll()).toMatchObject({ inbox: 0, sent: 0 });
    expect(lago.events).toEqual([]);
    await push.close();
  });

  test('keeps what came before anybody said from when, and bills it by that', async () => {
    const store = durable();
    const early = start(store, { BILL_FROM: '' });
    expect((await early.call(json(rowsOf(3).map((row) => toPayload(row))))).status).toBe(200);
    expect(await early.pushAll()).toMatchObject({ dry_run: true });
    await early.close();
    const push = start(store, { BILL_FROM: rowsOf(3)[1]!.startTime });
    const summary = await push.pushAll();
    expect(summary).toMatchObject({ inbox: 3, sent: 2 });
    expect(summary.skipped.before_bill_from).toBe(1);
    await push.close();
  });
});

function rowsOf2() {
  return completeRow({ request_id: 'fine', startTime: '2026-11-20T11:00:00Z', end_user: 'acme', spend: 1 });
}

describe('POST /webhook without a lasting store', () => {
  let directory: string;
  let store: Store;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'ingest-'));
    store = openStore({ name: 'push', directory, now });
  });
  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });

  test('answers 200 only once Lago has everything, and counts what it knew', async () => {
    const push = start(store);
    const body = rowsOf(150).map((row) => toPayload(row));
    expect(await push.call(json(body))).toEqual({ status: 200, body: { accepted: 150, duplicates: 0 } });
    expect(lago.events).toHaveLength(150);
    expect((await push.call(json(body))).body).toEqual({ accepted: 0, duplicates: 150 });
  });

  test.each([
    ['Lago is down', { kind: 'status', status: 503, times: 1e6 }, rowsOf2()],
    ['Lago refuses an event', { kind: 'cut', times: 0 }, { ...rowsOf2(), startTime: '+099999-01-01T00:00:00Z' }],
    ['somebody has no payer', { kind: 'cut', times: 0 }, { ...rowsOf2(), end_user: '' }],
  ] as const)('answers 503 where %s', async (_, fault, row) => {
    lago.faults.push({ ...fault });
    const push = start(store);
    const payload = {
      ...toPayload(rowsOf2()),
      end_user: row.end_user,
      ...(row.startTime[0] === '+' ? { startTime: 9e12 } : {}),
    };
    expect(await push.call(json([payload]))).toMatchObject({ status: 503, body: { code: 'not_safe' } });
    lago.faults.length = 0;
  });

  test('answers 503 before anybody said from when', async () => {
    const push = start(store, { BILL_FROM: '' });
    expect(await push.call(json([toPayload(rowsOf2())]))).toMatchObject({ body: { code: 'bill_from_missing' } });
    expect(lago.ledger).toEqual([]);
  });

  test('says at start which promises are off', () => {
    const push = start(store, { TRUST_REQUEST_USER: '', LATE_USAGE: 'next_period' });
    push.warn(push.log);
    expect(push.lines.join('\n')).toMatch(/503/);
    expect(push.lines.join('\n')).toMatch(/next_period holds instead/);
    expect(push.lines.join('\n')).toMatch(/TRUST_REQUEST_USER/);
  });
});

describe('POST /usage', () => {
  const record = (id: string, changes: object = {}) => ({
    id,
    upstream_id: null,
    litellm_call_id: null,
    billed_by: null,
    started_at: '2026-11-20T10:00:00.123Z',
    ended_at: '2026-11-20T10:00:01.000Z',
    caller: 'n8n',
    end_user: 'acme',
    model: 'llama3',
    requested_model: 'llama3',
    backend: 'ollama',
    provider: 'ollama',
    status: 200,
    outcome: 'ok',
    tokens: { input: 3, output: 4 },
    usage_source: 'upstream',
    cost_usd: '0.01',
    ...changes,
  });
  const usage = (...records: object[]) => ({
    method: 'POST',
    url: '/usage',
    body: JSON.stringify({ version: 1, records }),
  });

  test('accepts records once, counts repeated ones, and never sends what LiteLLM bills itself', async () => {
    const push = start(durable());
    const first = usage(record('a'), record('b', { billed_by: 'litellm' }), record('a'));
    expect(await push.call(first)).toEqual({ status: 200, body: { accepted: 2, duplicates: 1 } });
    expect((await push.call(usage(record('a'), record('c')))).body).toEqual({ accepted: 1, duplicates: 1 });
    await billed(2);
    await push.close();
    expect(lago.events.map(({ properties, timestamp }) => [properties.cost, timestamp])).toEqual([
      ['0.01', '2026-11-20T10:00:00.123Z'],
      ['0.01', '2026-11-20T10:00:00.123Z'],
    ]);
  });

  test.each([
    ['another version', { version: 2, records: [] }],
    ['a record without an id', { version: 1, records: [{ ...record('a'), id: '' }] }],
    ['a negative cost', { version: 1, records: [record('a'), record('b', { cost_usd: '-1' })] }],
    ['more than a thousand', { version: 1, records: Array.from({ length: 1001 }, (_, at) => record(String(at))) }],
  ])('refuses %s and applies nothing of it', async (_, body) => {
    const push = start(durable());
    const answer = await push.call({ method: 'POST', url: '/usage', body: JSON.stringify(body) });
    expect(answer).toMatchObject({ status: 400, body: { code: 'bad_usage' } });
    expect(await push.pushAll()).toMatchObject({ inbox: 0 });
    await push.close();
  });
});

test('a route that SOURCES lacks is not there', async () => {
  const push = start(durable(), { SOURCES: 'rows' });
  expect((await push.call(json([]))).status).toBe(404);
  // GET /usage is another route of that path.
  expect((await push.call({ method: 'POST', url: '/usage', body: '{}' })).status).toBe(405);
});
