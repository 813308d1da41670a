import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { formatUsd, parseUsd } from '#shared/money.ts';
import { openStore } from '#shared/store/open.ts';
import type { Store } from '#shared/store/store.ts';
import { type LagoSandbox, startLagoSandbox } from '../../sandbox/lago.ts';
import { type LitellmSandbox, type SpendLogRow, startLitellmSandbox } from '../../sandbox/litellm.ts';
import { startPush } from '../support/push.ts';

const start = Date.parse('2026-11-20T12:00:00Z');
const billFrom = Date.parse('2026-11-17T00:00:00Z');
let time = start;
let litellm: LitellmSandbox;
let lago: LagoSandbox;
let store: Store;
let directory: string;

beforeEach(async () => {
  time = start;
  litellm = await startLitellmSandbox({ seed: 7, now: () => new Date(start) });
  // A busy day: several batches in one slice, some rows in the same millisecond.
  for (let i = 0; i < 350; i++) {
    litellm.addRow({
      request_id: `busy-${i}`,
      startTime: new Date(Date.parse('2026-11-18T09:00:00Z') + Math.floor(i / 3) * 777).toISOString(),
      end_user: `customer-${i % 7}`,
      spend: (i + 1) * 1.5e-7,
      prompt_tokens: i,
    });
  }
  // And a row that every second run sees again in the overlap.
  litellm.addRow({ request_id: 'fresh-1', startTime: '2026-11-20T11:30:00.001Z', end_user: 'acme', spend: 0.25 });
  lago = await startLagoSandbox();
  directory = mkdtempSync(join(tmpdir(), 'push-test-'));
  store = openStore({ name: 'push', directory, now: () => time });
});

afterEach(async () => {
  await Promise.all([litellm.close(), lago.close(), store.close()]);
  rmSync(directory, { recursive: true });
});

function makeRun(options: { store?: Store; env?: Record<string, string> } = {}) {
  const push = startPush({
    litellmUrl: litellm.url,
    lagoUrl: lago.url,
    now: () => time,
    store: options.store ?? store,
    env: { EVENT_MODE: 'litellm', LAGO_API_EVENT_CODE: 'llm', BILL_FROM: '2026-11-17', ...options.env },
  });
  return push.pushAll;
}

const isBilled = (row: SpendLogRow) =>
  Date.parse(row.startTime) >= billFrom &&
  Date.parse(row.startTime) < time - 120_000 &&
  row.end_user !== '' &&
  row.cache_hit !== 'True' &&
  !(row.status === 'failure' && row.spend === 0);

/** What LiteLLM logged and is to be billed, and what Lago has, in the same words: subscription, id, cost, tokens, time. */
function expectLedgersEqual() {
  const owed = litellm.rows.filter(isBilled).map((row) => ({
    subscription: row.end_user,
    id: row.request_id.replace(/[^A-Za-z0-9._-]/g, '_'),
    model: row.model,
    cost: formatUsd(parseUsd(row.spend)),
    tokens: String(row.total_tokens),
    time: new Date(row.startTime).toISOString(),
  }));
  const billed = lago.events.map((event) => ({
    subscription: event.external_subscription_id,
    id: event.transaction_id.slice('litellm-'.length + 33),
    model: event.properties.model,
    cost: event.properties.response_cost,
    tokens: event.properties.total_tokens,
    time: event.timestamp,
  }));
  const text = (rows: object[]) => rows.map((row) => JSON.stringify(row)).sort();
  expect(billed.length).toBeGreaterThan(350);
  expect(text(billed)).toEqual(text(owed));
}

test('bills every row once and exactly, and a second run pushes nothing new', async () => {
  const run = makeRun();
  const first = await run();
  expectLedgersEqual();
  expect(first.sent).toBe(lago.events.length);
  expect(first.next_mark).toBe('2026-11-20T11:58:00.000Z');
  const { failures, cache_hits, done_before } = first.skipped;
  const unmapped = first.unmapped.reduce((sum, { rows }) => sum + rows, 0);
  expect(unmapped).toBeGreaterThan(0);
  expect(first.sent + unmapped + failures + cache_hits + done_before).toBe(first.rows);

  lago.ledger.length = 0;
  const second = await run();
  expect(second.skipped.done_before).toBeGreaterThan(0);
  expect(second).toMatchObject({ sent: 0, already_there: 0, dead: [], unmapped: first.unmapped });
  expect(lago.ledger).toEqual([]);
  expectLedgersEqual();
});

test('bills a row that was logged late, behind the mark, and nothing else again', async () => {
  const run = makeRun();
  await run();
  const before = lago.events.length;
  time += 10 * 60_000;
  litellm.addRow({
    request_id: 'late-1',
    startTime: '2026-11-20T11:20:00.250Z',
    end_user: 'acme',
    spend: 1.5e-7,
    model: 'gpt-4o',
  });
  expect(await run()).toMatchObject({ sent: 1, already_there: 0 });
  expect(lago.events).toHaveLength(before + 1);
  expectLedgersEqual();
});

test('knows by Lago itself what is billed when its own memory is gone', async () => {
  const first = await makeRun()();
  const fresh = openStore({ name: 'fresh', directory, now: () => time });
  const again = await makeRun({ store: fresh })();
  await fresh.close();
  expect(again).toMatchObject({ sent: 0, already_there: first.sent, dead: [] });
  expectLedgersEqual();
});

test('begins anew where another Lago is to be filled', async () => {
  await makeRun()();
  await lago.close();
  lago = await startLagoSandbox();
  await makeRun()();
  expectLedgersEqual();
});

describe('a run that stops in the middle', () => {
  test.each([
    ['an error', { kind: 'status', status: 500 }],
    ['rate limits', { kind: 'rate-limit', retryAfterS: 1 }],
    ['lost connections', { kind: 'cut', afterBytes: 20 }],
    ['resets', { kind: 'reset' }],
    ['a page of HTML', { kind: 'html' }],
  ] as const)('by %s gives each event once after a rerun', async (_, fault) => {
    const run = makeRun();
    // The first batch goes through (nothing is cut of it), then everything fails.
    const path = '/events';
    lago.faults.push({ kind: 'cut', path, afterBytes: 10_000_000, times: 1 }, { ...fault, path, times: 1000 });
    await expect(run()).rejects.toMatchObject({ service: 'Lago' });
    const owed = litellm.rows.filter(isBilled).length;
    expect(lago.events.length).toBeGreaterThan(0);
    if (fault.kind !== 'cut') expect(lago.events.length).toBeLessThan(owed);
    lago.faults.length = 0;
    const second = await run();
    expect(second.dead).toEqual([]);
    expectLedgersEqual();
  });
});

test('keeps everything and stops when Lago does not know the key', async () => {
  await expect(makeRun({ env: { LAGO_API_KEY: 'wrong' } })()).rejects.toMatchObject({ status: 401 });
  expect(lago.events).toEqual([]);
  expect(lago.ledger.length).toBeLessThanOrEqual(5);
  await makeRun()();
  expectLedgersEqual();
});

test('keeps everything and stops when the key may not write', async () => {
  lago.faults.push({ kind: 'status', status: 403, method: 'POST', times: 1e6 });
  await expect(makeRun()()).rejects.toMatchObject({ status: 403 });
  expect(lago.ledger.filter(({ method }) => method === 'POST').length).toBeLessThanOrEqual(4);
  lago.faults.length = 0;
  await makeRun()();
  expectLedgersEqual();
});

test('sets the mark no further when LiteLLM fails half way, and goes on there', async () => {
  const run = makeRun();
  litellm.faults.push({ kind: 'slow', delayMs: 0, times: 1 }, { kind: 'unauthorized', times: 1 });
  await expect(run()).rejects.toMatchObject({ service: 'LiteLLM' });
  await run();
  expectLedgersEqual();
});

test('sends and marks nothing in a dry run, and says what it would bill', async () => {
  const summary = await makeRun()(true);
  const owed = litellm.rows.filter(isBilled);
  const spend = owed.reduce((sum, row) => sum + parseUsd(row.spend), 0n);
  expect(summary).toMatchObject({
    dry_run: true,
    sent: 0,
    would_send: { events: owed.length, spend_usd: formatUsd(spend) },
    next_mark: null,
  });
  expect(lago.ledger).toEqual([]);
  expect((await makeRun()()).sent).toBe(owed.length);
});

test('runs dry over the last day without BILL_FROM', async () => {
  const summary = await makeRun({ env: { BILL_FROM: '' } })();
  expect(summary).toMatchObject({ dry_run: true, window: { from: '2026-11-19T11:58:00.000Z' }, next_mark: null });
  expect(lago.ledger).toEqual([]);
});

test('lets one run at a time at the work', async () => {
  const run = makeRun();
  const [first, second] = await Promise.allSettled([run(), run()]);
  const [refused] = [first, second].filter((outcome) => outcome.status === 'rejected');
  expect([first.status, second.status].sort()).toEqual(['fulfilled', 'rejected']);
  expect(refused?.reason).toMatchObject({ status: 409, code: 'run_in_progress' });
  expectLedgersEqual();
  await run();
});
