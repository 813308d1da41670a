import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cron } from 'croner';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { Store } from '#shared/store/store.ts';
import { toStateKey } from '../../functions/lago-usage-push/schedule/state.ts';
import { type LagoSandbox, startLagoSandbox } from '../../sandbox/lago.ts';
import type { SpendLogRow } from '../../sandbox/litellm/rows.ts';
import { type LitellmSandbox, startLitellmSandbox } from '../../sandbox/litellm.ts';
import { startDatabase, startPush } from '../support/push.ts';

let database: Awaited<ReturnType<typeof startDatabase>>;
let litellm: LitellmSandbox;
let lago: LagoSandbox;
let store: Store;
let time = 0;
let count = 0;
const now = () => time;
const minuteMs = 60_000;
beforeAll(async () => {
  database = await startDatabase();
}, 60_000);
afterAll(() => database.close());

async function open(profile = '1.39', litellmProfile = '1.101') {
  litellm = await startLitellmSandbox({ profile: litellmProfile, now: () => new Date(now()) });
  litellm.rows.length = 0;
  lago = await startLagoSandbox({ profile, now: () => new Date(now()) });
}
beforeEach(async () => {
  time = Date.parse('2026-11-20T12:00:00Z');
  store = database.open(`delivery-${count++}`, now);
});
afterEach(() => Promise.all([litellm.close(), lago.close()]));

const start = (env: Record<string, string> = {}, own = store) =>
  startPush({ litellmUrl: litellm.url, lagoUrl: lago.url, now, store: own, env: { BILL_FROM: '2026-11-01', ...env } });
const addRow = (id: string, at: string, changes: Partial<SpendLogRow> = {}) =>
  litellm.addRow({ request_id: id, startTime: at, spend: 0.5, end_user: 'acme', model: 'gpt-4o', ...changes });
const shown = (id: string) => lago.events.filter(({ transaction_id: tx }) => tx.endsWith(`-${id}`));

describe('dead letters', () => {
  test('take an event that Lago refuses out of the way: the mark goes on, and a retry bills it', async () => {
    await open();
    for (let at = 0; at < 120; at++) addRow(`r${at}`, `2026-11-20T10:00:00.${String(at).padStart(3, '0')}Z`);
    addRow('later', '2026-11-20T11:30:00Z');
    const push = start();
    // The first event alone is answered 500 for good, whatever stands beside it.
    lago.faults.push({ kind: 'status', status: 500, method: 'POST', path: '/events', body: '-r7"', times: 1e6 });
    const summary = await push.pushAll();
    expect(summary).toMatchObject({ sent: 120, next_mark: '2026-11-20T11:58:00.000Z' });
    expect(summary.dead).toMatchObject([{ request_id: 'r7', reason: 'answered 500 for good', cost_usd: '0.5' }]);
    const { body } = await push.call({ method: 'GET', url: '/dead-letters' });
    expect(body).toMatchObject({ dead_letters: [{ request_id: 'r7', event: { external_subscription_id: 'acme' } }] });
    expect(await push.call({ method: 'POST', url: '/dead-letters/retry' })).toMatchObject({ body: { still_dead: 1 } });

    lago.faults.length = 0;
    const retried = await push.call({ method: 'POST', url: '/dead-letters/retry' });
    expect(retried.body).toEqual({ retried: 1, sent: 1, already_there: 0, still_dead: 0 });
    expect((await push.call({ method: 'GET', url: '/dead-letters' })).body.dead_letters).toEqual([]);
    expect(await push.pushAll()).toMatchObject({ sent: 0, dead: [] });
    expect(shown('r7')).toHaveLength(1);
    expect(lago.events).toHaveLength(121);
    expect((await push.call({ method: 'GET', url: '/metrics' })).body.text).toMatch(
      /lago_push_events_total\{fate="dead"\} 1\n/,
    );
  });

  test.each(['limit=0', 'limit=x', 'limit=1001', 'after=x'])('are not listed by %s', async (query) => {
    await open();
    expect((await start().call({ method: 'GET', url: `/dead-letters?${query}` })).status).toBe(400);
  });
});

test('on Lago 1.33 sends only what is new after a run that failed, where a duplicate would spoil the rest', async () => {
  await open('1.33');
  for (let at = 0; at < 100; at++) addRow(`r${at}`, `2026-11-20T10:00:00.${String(at).padStart(3, '0')}Z`);
  const push = start();
  // Stored, and every answer lost.
  lago.faults.push({ kind: 'cut', afterBytes: 5, times: 1e6, method: 'POST' });
  await expect(push.pushAll()).rejects.toMatchObject({ service: 'Lago' });
  expect(lago.events).toHaveLength(100);
  lago.faults.length = 0;
  // What is sent next is composed otherwise: late rows stand between the known ones.
  for (let at = 0; at < 50; at++) addRow(`late${at}`, `2026-11-20T10:00:00.${String(at).padStart(3, '0')}Z`);
  const summary = await push.pushAll();
  expect(summary).toMatchObject({ sent: 50, already_there: 100, unprocessed: [] });
  expect(lago.invoiced()).toHaveLength(150);
});

test('on Lago 1.33 knows after a kill what was being sent, as it was noted before', async () => {
  await open('1.33');
  for (let at = 0; at < 100; at++) addRow(`r${at}`, `2026-11-20T10:00:00.${String(at).padStart(3, '0')}Z`);
  // From the moment that Lago has something, nothing can be noted any more.
  const put: Store['kv']['put'] = (...given) =>
    lago.events.length > 0 ? Promise.reject(new Error('killed')) : store.kv.put(...given);
  await expect(start({}, { ...store, kv: { ...store.kv, put } }).pushAll()).rejects.toThrow('killed');
  expect(lago.events).toHaveLength(100);
  for (let at = 0; at < 50; at++) addRow(`late${at}`, `2026-11-20T10:00:00.${String(at).padStart(3, '0')}Z`);
  expect(await start().pushAll()).toMatchObject({ sent: 50, already_there: 100, unprocessed: [] });
  expect(lago.invoiced()).toHaveLength(150);
});

describe('usage without a payer', () => {
  test('is held with its amount in every summary, and billed once when the map has a payer', async () => {
    await open();
    addRow('a', '2026-11-20T10:00:00Z', { team_id: 'team-a', spend: 0.25 });
    addRow('b', '2026-11-20T10:01:00Z', { team_id: 'team-b', spend: 0.125 });
    addRow('c', '2026-11-20T10:02:00Z', { team_id: '', spend: 1 });
    const env = { LAGO_API_CHARGE_BY: 'team_id', SUBSCRIPTION_MAP: '{"team-a":"sub_a"}' };
    const push = start(env);
    const held = [
      { reason: 'not_in_map', id: 'team-b', model: 'gpt-4o', month: '2026-11', rows: 1, spend_usd: '0.125' },
      { reason: 'no_payer', id: null, model: 'gpt-4o', month: '2026-11', rows: 1, spend_usd: '1' },
    ];
    expect(await push.pushAll()).toMatchObject({ sent: 1, unmapped: held });
    time += 5 * minuteMs;
    expect(await push.pushAll()).toMatchObject({ sent: 0, unmapped: held });
    const mapped = start({ ...env, SUBSCRIPTION_MAP: '{"team-a":"sub_a","team-b":"sub_b"}' });
    expect(await mapped.pushAll()).toMatchObject({ sent: 1, unmapped: [held[1]] });
    const named = start({ ...env, DEFAULT_SUBSCRIPTION: 'house' });
    expect(await named.pushAll()).toMatchObject({ sent: 1, unmapped: [] });
    expect(lago.events.map(({ external_subscription_id: id, properties }) => [id, properties.cost])).toEqual([
      ['sub_a', '0.25'],
      ['sub_b', '0.125'],
      ['house', '1'],
    ]);
  });

  test('is one amount, though the process was killed between keeping it anew and noting that', async () => {
    await open();
    addRow('a', '2026-11-20T10:00:00Z', { team_id: 'team-a', spend: 0.25 });
    const env = (team: string) => ({ LAGO_API_CHARGE_BY: 'team_id', SUBSCRIPTION_MAP: `{"${team}":"sub"}` });
    const held = { unmapped: [{ id: 'team-a', rows: 1, spend_usd: '0.25' }] };
    expect(await start(env('other')).pushAll()).toMatchObject(held);
    let isDead = false;
    const dying: Store = {
      ...store,
      kv: { ...store.kv, put: (...given) => (isDead ? Promise.reject(new Error('killed')) : store.kv.put(...given)) },
      log: {
        ...store.log,
        async append(...given) {
          isDead = true;
          return store.log.append(...given);
        },
      },
    };
    await expect(start(env('another'), dying).pushAll()).rejects.toThrow('killed');
    time += 5 * minuteMs;
    expect(await start(env('another')).pushAll()).toMatchObject(held);
    expect(await start(env('a-third')).pushAll()).toMatchObject(held);
    expect(await start(env('team-a')).pushAll()).toMatchObject({ sent: 1, unmapped: [] });
  });

  test('is held, too, where Lago has no subscription for it, and billed when it has', async () => {
    await open();
    addRow('a', '2026-11-20T10:00:00Z');
    const push = start({ PREFLIGHT: 'hold' });
    expect(await push.pushAll()).toMatchObject({
      sent: 0,
      held: [{ reason: 'unknown_subscription', id: 'acme', rows: 1 }],
    });
    expect(lago.events).toEqual([]);
  });
});

describe('usage that comes after its period closed', () => {
  const lastMinute = '2026-11-30T23:59:00.000Z';

  test('is held with its amount, and billed in the next period once somebody decides so, with its true date', async () => {
    await open();
    time = Date.parse('2026-12-01T00:05:00Z');
    addRow('in-time', '2026-11-30T23:58:00Z');
    const push = start();
    expect(await push.pushAll()).toMatchObject({ sent: 1 });
    addRow('late', lastMinute, { spend: 2 });
    time = Date.parse('2026-12-01T00:20:00Z');
    const late = { reason: 'late', id: 'acme', model: 'gpt-4o', month: '2026-11', rows: 1, spend_usd: '2' };
    expect(await push.pushAll()).toMatchObject({ sent: 0, held: [late] });
    expect(await push.pushAll()).toMatchObject({ sent: 0, held: [late] });

    expect(await start({ LATE_USAGE: 'next_period' }).pushAll()).toMatchObject({ sent: 1, held: [] });
    expect(shown('late')).toMatchObject([
      { timestamp: '2026-12-01T00:00:00.000Z', properties: { cost: '2', usage_date: lastMinute } },
    ]);
    expect(lago.invoiced()).toHaveLength(2);
  });

  test('is decided on once: a replay in yet another period, without memory, changes nothing at a store that replaces', async () => {
    await open('clickhouse');
    time = Date.parse('2026-12-01T00:20:00Z');
    addRow('late', lastMinute);
    await start({ LATE_USAGE: 'next_period' }).pushAll();
    time = Date.parse('2027-01-05T00:00:00Z');
    // The mark is gone, so that everything is read again; the decisions are not.
    await store.kv.put(stateKey(), null);
    expect(await start({ LATE_USAGE: 'next_period' }).pushAll()).toMatchObject({ sent: 0, already_there: 1 });
    expect(lago.events).toHaveLength(1);
  });

  test('is known as billed where Lago had it in time and only we forgot', async () => {
    await open();
    time = Date.parse('2026-12-01T00:05:00Z');
    addRow('a', lastMinute);
    await start().pushAll();
    time = Date.parse('2027-01-05T00:00:00Z');
    const forgetful = startPush({
      litellmUrl: litellm.url,
      lagoUrl: lago.url,
      now,
      store: database.open('forgetful', now),
      env: { BILL_FROM: '2026-11-01' },
    });
    expect(await forgetful.pushAll()).toMatchObject({ sent: 0, already_there: 1, held: [] });
  });
});

const stateKey = () => toStateKey(litellm.url, lago.url);

/** When the sample calls the function between two times. */
function ticksOf(from: number, to: number): number[] {
  const text = readFileSync(join(import.meta.dirname, '../../stack.sample.yml'), 'utf8');
  const { schedule } = parse(text, { merge: true }).functions['lago-usage-push'].annotations;
  const cron = new Cron(schedule, { timezone: 'UTC' });
  const ticks: number[] = [];
  for (let at = cron.nextRun(new Date(from - 1_000)); at !== null && at.getTime() <= to; at = cron.nextRun(at)) {
    ticks.push(at.getTime());
  }
  return ticks;
}

test("twelve month ends: every call is billed in its own month by the ticks of the sample's schedule", async () => {
  await open();
  time = Date.parse('2026-01-31T23:50:00Z');
  const push = start({ BILL_FROM: '2026-01-31' });
  // Up to the last millisecond of a month, and from the first of the next one on.
  const aroundMs = [-9 * minuteMs, -3 * minuteMs, -minuteMs, -1, 0, minuteMs, 6 * minuteMs];
  for (let month = 1; month <= 12; month++) {
    const end = Date.UTC(2026, month, 1);
    for (const offsetMs of aroundMs) addRow(`m${month}${offsetMs}`, new Date(end + offsetMs).toISOString());
    for (const tick of ticksOf(end - 10 * minuteMs, end + 20 * minuteMs)) {
      time = tick;
      expect(await push.pushAll()).toMatchObject({ held: [], dead: [], complete: true });
    }
  }
  expect(lago.events).toHaveLength(12 * aroundMs.length);
  expect(lago.invoiced()).toHaveLength(12 * aroundMs.length);
  expect(lago.events.every(({ properties }) => properties.usage_date === undefined)).toBe(true);
}, 60_000);

test('works off a long way in runs that end in time, each going on where the last one stopped', async () => {
  await open();
  for (let at = 0; at < 3_500; at++) {
    addRow(`r${at}`, new Date(Date.parse('2026-11-10T00:00:00Z') + at * 60_000).toISOString());
  }
  const push = start({ RUN_SECONDS: '1' });
  // Each question to Lago costs 0.3 s of this clock, so that no run gets further than its first group.
  const tick = time;
  const slow = setInterval(() => {
    time += 400;
  }, 5);
  const marks: (string | null)[] = [];
  for (let turn = 0; turn < 10; turn++) {
    const { complete, next_mark: mark } = await push.pushAll();
    marks.push(mark);
    if (complete) break;
  }
  clearInterval(slow);
  expect(marks.length).toBeGreaterThan(2);
  expect(marks).toEqual(marks.toSorted());
  expect(time).toBeGreaterThan(tick);
  expect(lago.events).toHaveLength(3_500);
}, 60_000);

describe('in another currency', () => {
  test('each call is billed by the rate of its own day, and a replay after a change bills nothing twice', async () => {
    await open();
    addRow('old', '2026-11-09T10:00:00Z', { spend: 1 });
    addRow('new', '2026-11-11T10:00:00Z', { spend: 1 });
    const rates = (november: string) => ({
      BILLING_CURRENCY: 'KRW',
      FX_RATES: `{"2026-01-01":"1390","2026-11-10":"${november}"}`,
      MARKUP: '1.1',
    });
    await start(rates('1400.5')).pushAll();
    const seen = lago.events.map(({ properties, precise_total_amount_cents: cents }) => [cents, properties]);
    expect(seen).toEqual([
      [
        '1529',
        {
          model: 'gpt-4o',
          provider: 'openai',
          cost: '1529',
          unit: '1',
          base_cost: '1',
          markup: '1.1',
          currency: 'KRW',
          fx_rate: '1390',
        },
      ],
      [
        '1540.55',
        {
          model: 'gpt-4o',
          provider: 'openai',
          cost: '1540.55',
          unit: '1',
          base_cost: '1',
          markup: '1.1',
          currency: 'KRW',
          fx_rate: '1400.5',
        },
      ],
    ]);
    await store.kv.put(stateKey(), null);
    expect(await start(rates('1500')).pushAll()).toMatchObject({ sent: 0, already_there: 2 });
    expect(lago.events).toHaveLength(2);
  });
});

test('in tokens sends one event a type by the codes of Lago', async () => {
  await open();
  addRow('a', '2026-11-20T10:00:00Z', {
    prompt_tokens: 100,
    completion_tokens: 50,
    metadata: { usage_object: { prompt_tokens: 100, prompt_tokens_details: { cached_tokens: 40 } } },
  });
  expect(await start({ EVENT_MODE: 'tokens' }).pushAll()).toMatchObject({ rows: 1, sent: 3 });
  expect(lago.events.map(({ code, properties }) => [code, properties.value, properties.token_type])).toEqual([
    ['llm_input_tokens', '60', 'input'],
    ['llm_output_tokens', '50', 'output'],
    ['llm_cached_input_tokens', '40', 'cached_input'],
  ]);
});

describe('LiteLLM 1.53.7, by closed days', () => {
  const env = { SOURCES: 'rollup', LAGO_API_CHARGE_BY: 'key', BILL_FROM: '2026-11-17' };

  test('bills each key and model of a day once, some hours after it closed, and reports what is logged later', async () => {
    await open('1.12', '1.53');
    addRow('a', '2026-11-18T10:00:00Z', { spend: 0.1, model: 'gpt-4o' });
    addRow('b', '2026-11-18T11:00:00Z', { spend: 0.2, model: 'gpt-4o' });
    addRow('c', '2026-11-18T12:00:00Z', { spend: 0.4, model: 'mistral' });
    time = Date.parse('2026-11-19T02:55:00Z');
    const push = start(env);
    expect(await push.pushAll()).toMatchObject({ sent: 0 });
    time = Date.parse('2026-11-19T03:00:00Z');
    expect(await push.pushAll()).toMatchObject({ sent: 2, unmapped: [], next_mark: '2026-11-19T00:00:00.000Z' });
    expect(lago.events.map(({ properties, timestamp }) => [properties.model, properties.cost, timestamp])).toEqual([
      ['gpt-4o', '0.3', '2026-11-18T00:00:00.000Z'],
      ['mistral', '0.4', '2026-11-18T00:00:00.000Z'],
    ]);
    addRow('d', '2026-11-18T23:59:00Z', { spend: 0.05, model: 'mistral' });
    const later = await push.pushAll();
    expect(later).toMatchObject({ sent: 0 });
    expect(later.late_deltas).toMatchObject([
      { day: '2026-11-18', model: 'mistral', sent_usd: '0.4', now_usd: '0.45' },
    ]);
    expect(lago.events).toHaveLength(2);
  });

  test("bills a month's last day by the tick at five past, in time for its invoice", async () => {
    await open('1.12', '1.53');
    addRow('a', '2026-11-30T23:00:00Z');
    time = Date.parse('2026-12-01T00:05:00Z');
    const summary = await start({ ...env, BILL_FROM: '2026-11-28' }).pushAll();
    expect(summary).toMatchObject({ sent: 1, held: [] });
    expect(lago.invoiced()).toHaveLength(1);
  });

  test('is told to do so where it is asked for rows', async () => {
    await open('1.12', '1.53');
    addRow('a', '2026-11-18T10:00:00Z');
    await expect(start({ BILL_FROM: '2026-11-17' }).pushAll()).rejects.toMatchObject({ status: 404 });
  });
});
