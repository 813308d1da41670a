import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openStore } from '#shared/store/open.ts';
import type { Store } from '#shared/store/store.ts';
import type { ReconcileReport } from '../../functions/lago-usage-push/reconcile/report.ts';
import { type LagoSandbox, startLagoSandbox } from '../../sandbox/lago.ts';
import { type LitellmSandbox, startLitellmSandbox } from '../../sandbox/litellm.ts';
import { startPush, type TestPush } from '../support/push.ts';

let time: number;
let litellm: LitellmSandbox;
let lago: LagoSandbox;
let directory: string;
let store: Store;

beforeEach(async () => {
  time = Date.parse('2026-11-20T12:00:00Z');
  directory = mkdtempSync(join(tmpdir(), 'reconcile-'));
  store = openStore({ name: 'push', directory, now: () => time });
  litellm = await startLitellmSandbox({ now: () => new Date(time) });
  litellm.rows.length = 0;
  for (let i = 0; i < 30; i++) {
    litellm.addRow({
      request_id: `call-${i}`,
      startTime: new Date(Date.parse('2026-11-18T22:00:00Z') + i * 600_000).toISOString(),
      end_user: i % 3 === 0 ? 'globex' : 'acme',
      model: i % 2 === 0 ? 'gpt-4o' : 'gpt-4o-mini',
      spend: (i + 1) * 1.5e-7,
      prompt_tokens: i,
      completion_tokens: 1,
    });
  }
});

afterEach(async () => {
  await Promise.all([litellm.close(), lago.close(), store.close()]);
  rmSync(directory, { recursive: true });
});

async function start(profile: string, env: Record<string, string> = {}) {
  // The simulated Lago's catalog has the end users' subscriptions.
  lago = await startLagoSandbox({ profile, seed: 1, now: () => new Date(time) });
  return startPush({
    litellmUrl: litellm.url,
    lagoUrl: lago.url,
    now: () => time,
    store,
    env: { BILL_FROM: '2026-11-17', PREFLIGHT: 'hold', ...env },
  });
}

const window = '/reconcile?start=2026-11-18&end=2026-11-20';
const read = async (push: TestPush, url = window) =>
  (await push.call({ url })).body as unknown as ReconcileReport & { sent?: Record<string, number> };
const send = async (push: TestPush, url = window) =>
  (await push.call({ method: 'POST', url })).body as unknown as ReconcileReport & { sent: Record<string, number> };

const nothing = { events: 0, amount: '0' };

describe.each(['1.12', '1.33', '1.39', 'clickhouse'])('Lago %s', (profile) => {
  test('agrees after a push, by subscription and model', async () => {
    const push = await start(profile);
    await push.pushAll();
    const report = await read(push);
    expect(report).toMatchObject({ complete: true, rows: 30, missing: { total: 0 }, double: { total: 0 } });
    expect(report.lines).toHaveLength(4);
    for (const line of report.lines) {
      expect(line.ledger).toEqual(line.lago);
      expect(line).toMatchObject({ missing: nothing, double: nothing, late: nothing });
    }
    const total = report.lines.reduce((sum, { ledger }) => sum + ledger.events, 0);
    expect(total).toBe(30);
  });

  test('finds what Lago lost though we remember it as sent, and sends it once', async () => {
    const push = await start(profile);
    await push.pushAll();
    const lost = lago.events.slice(5, 8);
    lago.lose(lost.map((event) => event.transaction_id));
    const before = lago.events.length;
    const report = await read(push);
    expect(report.missing.shown.map((item) => item.transaction_id).toSorted()).toEqual(
      lost.map((event) => event.transaction_id).toSorted(),
    );
    expect(lago.events).toHaveLength(before);

    expect((await send(push)).sent).toMatchObject({ calls: 3, sent: 3, dead: 0 });
    expect(await read(push)).toMatchObject({ missing: { total: 0 }, double: { total: 0 } });
    expect((await send(push)).sent).toEqual({ calls: 0, sent: 0, already_there: 0, dead: 0 });
    const ids = lago.events.map((event) => event.transaction_id);
    expect(new Set(ids).size).toBe(30);
    expect(ids).toHaveLength(30);
  });
});

test('tells what it cannot see where Lago cannot list its events', async () => {
  const push = await start('1.12');
  await push.pushAll();
  expect(await read(push)).toMatchObject({ lists_events: false });
});

test("finds the doubles of LiteLLM's own callback, and corrects none of them", async () => {
  const push = await start('1.39');
  await push.pushAll();
  const [victim] = litellm.rows;
  await fetch(`${lago.url}/api/v1/events`, {
    method: 'POST',
    headers: { Authorization: 'Bearer lago-sandbox', 'Content-Type': 'application/json' },
    body: JSON.stringify({
      event: {
        transaction_id: 'b7c0c4c4-6a3a-4b52-9a5e-0d9a3b7f1a11',
        external_subscription_id: victim!.end_user,
        code: 'litellm',
        timestamp: Date.parse(victim!.startTime) / 1000 + 3,
        properties: { model: victim!.model, response_cost: victim!.spend, total_tokens: victim!.total_tokens },
      },
    }),
  });
  const before = structuredClone(lago.events);
  const report = await send(push);
  expect(report.double).toMatchObject({
    total: 1,
    shown: [{ kind: 'callback', request_id: 'call-0', billed_as: 'b7c0c4c4-6a3a-4b52-9a5e-0d9a3b7f1a11' }],
  });
  const line = report.lines.find((item) => item.double.events > 0);
  expect(line).toMatchObject({ subscription: 'globex', double: { events: 1, amount: '0.00000015' } });
  expect(lago.events).toEqual(before);
});

test('shows what came after its period was closed, and what would come too late now', async () => {
  const push = await start('1.39', { BILL_FROM: '2026-10-01' });
  litellm.addRow({ request_id: 'in-time', startTime: '2026-10-31T23:00:00Z', end_user: 'acme', spend: 0.5 });
  litellm.addRow({ request_id: 'too-late', startTime: '2026-10-31T23:30:00Z', end_user: 'acme', spend: 0.25 });
  const stored = async (transactionId: string, at: string) => {
    const event = {
      transaction_id: transactionId,
      external_subscription_id: 'acme',
      code: 'llm_cost',
      timestamp: Date.parse(at) / 1000,
    };
    await fetch(`${lago.url}/api/v1/events`, {
      method: 'POST',
      headers: { Authorization: 'Bearer lago-sandbox', 'Content-Type': 'application/json' },
      body: JSON.stringify({ event: { ...event, properties: { model: 'gpt-4o-mini', cost: '0.5', unit: '1' } } }),
    });
  };
  const first = await read(push, '/reconcile?start=2026-10-31&end=2026-11-01');
  expect(first).toMatchObject({ missing: { total: 0 }, late: { total: 2 } });
  const [id] = first.late.shown.filter((item) => item.request_id === 'in-time');
  // Lago's clock is the machine's: the event arrives long after October.
  await stored(id!.transaction_id, '2026-10-31T23:00:00Z');
  const report = await send(push, '/reconcile?start=2026-10-31&end=2026-11-01');
  expect(report.late.shown.map((item) => [item.request_id, item.arrived_at === null])).toEqual([
    ['in-time', false],
    ['too-late', true],
  ]);
  expect(report.sent).toMatchObject({ calls: 0 });
});

test('does not call missing what nobody can be billed for', async () => {
  const push = await start('1.39');
  litellm.addRow({ request_id: 'nobody', startTime: '2026-11-19T01:00:00Z', end_user: '', spend: 1 });
  litellm.addRow({ request_id: 'stranger', startTime: '2026-11-19T01:00:00Z', end_user: 'stranger', spend: 1 });
  litellm.addRow({ request_id: 'hit', startTime: '2026-11-19T01:00:00Z', end_user: 'acme', cache_hit: 'True' });
  await push.pushAll();
  expect(await read(push)).toMatchObject({
    rows: 33,
    skipped: { cache_hits: 1 },
    held: [
      { reason: 'no_payer', rows: 1 },
      { reason: 'unknown_subscription', rows: 1 },
    ],
    missing: { total: 0 },
  });
});

test('compares tokens type by type', async () => {
  const push = await start('1.39', { EVENT_MODE: 'tokens' });
  await push.pushAll();
  lago.lose([lago.events[0]!.transaction_id]);
  const report = await read(push);
  expect(report.missing.total).toBe(1);
  expect((await send(push)).sent).toMatchObject({ calls: 1, sent: 1 });
  expect((await read(push)).missing.total).toBe(0);
});

test('stops in time and says where to go on', async () => {
  const push = await start('1.39', { RUN_SECONDS: '1' });
  await push.pushAll();
  const began = time;
  const clock = { reads: 0 };
  const slow = startPush({
    litellmUrl: litellm.url,
    lagoUrl: lago.url,
    now: () => began + 100 * clock.reads++,
    store,
    env: { BILL_FROM: '2026-11-17', RUN_SECONDS: '1' },
  });
  const report = await read(slow, '/reconcile?start=2026-10-01&end=2026-11-20');
  expect(report.complete).toBe(false);
  expect(Date.parse(report.next_start!)).toBeGreaterThan(Date.parse('2026-10-01'));
});

test.each([
  ['/reconcile', 400, 'bad_parameter'],
  ['/reconcile?start=2026-11-20&end=2026-11-19', 400, 'bad_parameter'],
  ['/reconcile?start=2026-01-01&end=2026-11-19', 400, 'bad_parameter'],
  ['/reconcile?start=yesterday&end=2026-11-19', 400, 'bad_parameter'],
])('refuses %s', async (url, status, code) => {
  const push = await start('1.39');
  expect(await push.call({ url })).toMatchObject({ status, body: { code } });
});

test('sends nothing before BILL_FROM says from when', async () => {
  const push = await start('1.39', { BILL_FROM: '' });
  expect(await push.call({ method: 'POST', url: window })).toMatchObject({
    status: 409,
    body: { code: 'bill_from_missing' },
  });
  expect(await push.call({ url: window })).toMatchObject({ status: 200 });
});
