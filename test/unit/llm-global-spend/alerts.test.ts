import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { UpstreamError } from '#shared/errors.ts';
import { createLogger } from '#shared/log.ts';
import { openStore } from '#shared/store/open.ts';
import { createPostgresEngine } from '#shared/store/postgres.ts';
import { createStore, type Store } from '#shared/store/store.ts';
import type { Alert } from '../../../functions/llm-global-spend/budgets/alert.ts';
import { type Budget, parseBudgets } from '../../../functions/llm-global-spend/budgets/budget.ts';
import { createBudgets } from '../../../functions/llm-global-spend/budgets/check.ts';
import { createFactReports, type FactReports } from '../../support/spend-reports.ts';

let time = new Date('2026-11-21T12:00:00Z');
const now = () => time;
const clock = () => time.getTime();
const directory = mkdtempSync(join(tmpdir(), 'alerts-test-'));
const database = new PGlite();
const engine = createPostgresEngine(async () => ({
  query: (text, params) => database.query<Record<string, unknown>>(text, params),
  close: async () => undefined,
}));

// Each call is another replica: another store over the same rows.
const engines: [string, (name: string) => Store][] = [
  ['one SQLite file', (name) => openStore({ name: `s-${name}`, directory, now: clock })],
  ['PostgreSQL', (name) => createStore(engine, { name, now: clock })],
];

beforeAll(() => database.waitReady, 60_000);
afterAll(async () => {
  await database.close();
  rmSync(directory, { recursive: true });
});

const budgetsOf = (value: unknown) => (parseBudgets(JSON.stringify(value)) as { budgets: Budget[] }).budgets;
const whole = { name: 'all', scope: 'proxy', period: 'month', limit_usd: 100, forecast: false };

describe.each(engines)('alerts over %s', (_, open) => {
  let name = 0;
  let reports: FactReports;
  let posted: Alert[];
  let failWith: UpstreamError | undefined;
  const log = createLogger({ level: 'error', write: () => {} });
  const signal = new AbortController().signal;

  beforeEach(() => {
    name += 1;
    time = new Date('2026-11-21T12:00:00Z');
    reports = createFactReports([], now);
    posted = [];
    failWith = undefined;
  });

  const replica = (list: unknown[] = [whole]) => {
    const budgets = createBudgets({
      budgets: budgetsOf(list),
      reports,
      store: open(`a${name}`),
      now,
      async post(alert) {
        if (failWith !== undefined) throw failWith;
        posted.push(alert);
      },
    });
    return { ...budgets, check: () => budgets.check({ signal, log }) };
  };
  const spend = (usd: string, day = '2026-11-21') => reports.facts.push({ day, usd, team: 'research' });
  const told = () => posted.map(({ budget, threshold, start_date }) => `${budget} ${threshold} ${start_date}`);

  it('tells a threshold once, and the next one when it is reached', async () => {
    const { check } = replica();
    spend('49.99');
    await check();
    expect(told()).toEqual([]);
    spend('0.01');
    await check();
    await check();
    expect(told()).toEqual(['all 50 2026-11-01']);
    expect(posted[0]).toMatchObject({
      event: 'spend.threshold',
      spend_usd: 50,
      percent: 50,
      message:
        'Budget "all" has reached 50 percent: the whole proxy spent $50.00 of $100.00 in the month of 2026-11-01 to 2026-11-30',
    });
    spend('30');
    await check();
    expect(told()).toEqual(['all 50 2026-11-01', 'all 80 2026-11-01']);
  });

  it('tells thresholds that were passed together in one alert, and none of them later', async () => {
    const { check } = replica();
    spend('120');
    await check();
    await check();
    expect(posted.map(({ threshold, thresholds }) => [threshold, thresholds])).toEqual([[100, [50, 80, 100]]]);
  });

  it('tells it again in the next period', async () => {
    const { check } = replica([{ ...whole, period: 'day' }]);
    spend('50');
    await check();
    time = new Date('2026-11-22T12:00:00Z');
    await check();
    expect(told()).toEqual(['all 50 2026-11-21']);
    spend('60', '2026-11-22');
    await check();
    expect(told()).toEqual(['all 50 2026-11-21', 'all 50 2026-11-22']);
  });

  it('tells what was spent between the last check of a period and its end', async () => {
    const { check } = replica([{ ...whole, period: 'day' }]);
    time = new Date('2026-11-21T23:50:00Z');
    await check();
    spend('80');
    time = new Date('2026-11-22T00:05:00Z');
    await check();
    await check();
    expect(told()).toEqual(['all 80 2026-11-21']);
  });

  it('does not begin with the news of a period that was over before the first check', async () => {
    spend('500', '2026-10-31');
    await replica().check();
    expect(told()).toEqual([]);
  });

  it('tells it once, whichever of many replicas checks, at once or after a restart', async () => {
    spend('85');
    const replicas = Array.from({ length: 5 }, () => replica());
    const outcomes = await Promise.all(replicas.map(({ check }) => check()));
    expect(outcomes.filter(({ checked }) => checked).length).toBeGreaterThan(0);
    await replica().check();
    expect(told()).toEqual(['all 80 2026-11-01']);
  });

  it.each([
    ['is down', new UpstreamError('The alert webhook', 'network', 'ECONNREFUSED')],
    ['answers 500', new UpstreamError('The alert webhook', 'status', '', { status: 500 })],
    ['refuses it', new UpstreamError('The alert webhook', 'status', '', { status: 400 })],
  ])('keeps an alert while the receiver %s, through a restart, and delivers it as it was', async (_case, failure) => {
    spend('50');
    failWith = failure;
    expect(await replica().check()).toEqual({ checked: true, sent: 0, waiting: 1 });
    expect(await replica().check()).toEqual({ checked: true, sent: 0, waiting: 1 });
    // Long after the period's end, and after more was spent.
    time = new Date('2027-01-15T00:00:00Z');
    spend('500', '2027-01-15');
    reports.facts.splice(0, 1);
    const { check, outbox } = replica();
    expect(await outbox.waiting()).toHaveLength(1);
    failWith = undefined;
    expect(await check()).toEqual({ checked: true, sent: 2, waiting: 0 });
    expect(told()).toEqual(['all 50 2026-11-01', 'all 100 2027-01-01']);
    expect(posted[0]).toMatchObject({ spend_usd: 50, created_at: '2026-11-21T12:00:00.000Z' });
    expect(await check()).toEqual({ checked: true, sent: 0, waiting: 0 });
    expect(await outbox.waiting()).toEqual([]);
  });

  it('delivers the others while the receiver refuses one', async () => {
    const store = open(`a${name}`);
    const budgets = createBudgets({
      budgets: budgetsOf([whole, { ...whole, name: 'poison', scope: 'team', id: 'research' }]),
      reports,
      store,
      now,
      async post(alert) {
        if (alert.budget === 'poison') throw new UpstreamError('The alert webhook', 'status', '', { status: 400 });
        posted.push(alert);
      },
    });
    spend('50');
    expect(await budgets.check({ signal, log })).toMatchObject({ sent: 1, waiting: 1 });
    expect(await budgets.check({ signal, log })).toMatchObject({ sent: 0, waiting: 1 });
    expect(told()).toEqual(['all 50 2026-11-01']);
  });

  it('does not post when another replica took over while it waited for the receiver', async () => {
    spend('50');
    const first = createBudgets({
      budgets: budgetsOf([whole, { ...whole, name: 'team', scope: 'team', id: 'research' }]),
      reports,
      store: open(`a${name}`),
      now,
      async post(alert) {
        posted.push(alert);
        // A stalled process: its lease ends and the next replica does all that is left.
        time = new Date(time.getTime() + 6 * 60_000);
        await replica([whole, { ...whole, name: 'team', scope: 'team', id: 'research' }]).check();
      },
    });
    await first.check({ signal, log });
    const others = told().filter((line) => line.startsWith('team'));
    expect(others).toEqual(['team 50 2026-11-01']);
  });

  it('tells the forecast once a period, and the threshold when it is reached', async () => {
    const { check } = replica([{ ...whole, forecast: true, thresholds: [100] }]);
    spend('80');
    await check();
    await check();
    spend('20');
    await check();
    expect(posted.map(({ event, threshold }) => [event, threshold])).toEqual([
      ['spend.forecast', null],
      ['spend.threshold', 100],
    ]);
    expect(posted[0]?.message).toMatch(
      /^Budget "all" will be passed: .* which makes \$117\.\d\d by its end at the rate so far$/,
    );
  });

  it('finds teams, users, keys and end users by id, and by name', async () => {
    reports.names = { t1: 'Research', hash1: 'nightly' };
    reports.facts.push({ day: '2026-11-20', usd: '60', team: 't1', user: 'ada', key: 'hash1', end_user: 'acme' });
    reports.facts.push({ day: '2026-11-20', usd: '1', team: 't2', user: 'bob', key: 'hash2', end_user: 'other' });
    const of = (scope: string, id: string) => ({ scope, id, period: 'month', limit_usd: 100, forecast: false });
    await replica([
      of('team', 'Research'),
      of('user', 'ada'),
      of('key', 'nightly'),
      of('end_user', 'acme'),
      of('user', 'bob'),
    ]).check();
    expect(posted.map(({ label, spend_usd }) => [label, spend_usd])).toEqual([
      ['Research', 60],
      ['ada', 60],
      ['nightly', 60],
      ['acme', 60],
    ]);
  });

  it('reads LiteLLM once for all budgets of one scope and period', async () => {
    const of = (id: string, limit_usd: number) => ({ scope: 'user', id, period: 'month', limit_usd });
    await replica([of('a', 1), of('b', 2), of('c', 3), whole]).states(signal);
    expect(reports.asked.map(({ groupBy }) => groupBy)).toEqual([['user'], []]);
  });

  it('leaves a budget unknown that cannot be read, checks the others, and looks again next time', async () => {
    reports.unsupported.add('team');
    spend('50');
    const { check, states } = replica([{ ...whole, name: 'team', scope: 'team', id: 'research' }, whole]);
    await check();
    expect(told()).toEqual(['all 50 2026-11-01']);
    expect((await states(signal)).map(({ level, notes }) => [level, notes.map(({ code }) => code)])).toEqual([
      ['unknown', ['unsupported_by_source']],
      ['warning', []],
    ]);
    reports.unsupported.clear();
    await check();
    expect(told()).toEqual(['all 50 2026-11-01', 'team 50 2026-11-01']);
  });

  it('says "at least" when the report is known to lack something', async () => {
    reports.notes = [{ code: 'truncated', message: 'Rows were cut' }];
    spend('50');
    await replica().check();
    expect(posted[0]).toMatchObject({ complete: false, message: expect.stringContaining('at least $50.00') });
  });
});
