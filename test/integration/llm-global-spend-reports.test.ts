import { afterEach, describe, expect, it } from 'vitest';
import { createLitellmClient } from '#shared/clients/litellm.ts';
import { defineFunction } from '#shared/http/define.ts';
import { formatUsd, parseUsd, usdToNumber } from '#shared/money.ts';
import { createLlmGlobalSpend } from '../../functions/llm-global-spend/handler.ts';
import { type OpenReportsOptions, openReports } from '../../functions/llm-global-spend/report/open.ts';
import {
  type LitellmSandbox,
  type LitellmSandboxOptions,
  type SpendLogRow,
  startLitellmSandbox,
} from '../../sandbox/litellm.ts';
import { bodyOf, type CallOptions, makeCall } from '../support/call.ts';
import { createMemoryKv } from '../support/memory-kv.ts';

const profiles = ['1.53', '1.79', '1.101'];
let now = new Date('2026-11-21T06:30:00Z');
let sandbox: LitellmSandbox;
afterEach(() => sandbox?.close());

interface Wire {
  window: { start_date: string; end_date: string; timezone: string };
  spend_usd: number;
  requests: number | null;
  tokens: { input: number; output: number; total: number } | null;
  groups: (Record<string, { id: string; name: string }> & { spend_usd: number; requests: number | null })[];
  source: string;
  complete: boolean;
  notes: { code: string; message: string }[];
  error?: string;
  code?: string;
}

interface StartOptions extends LitellmSandboxOptions, Partial<Omit<OpenReportsOptions, 'now' | 'litellm'>> {
  apiKey?: string;
  timeoutMs?: number;
  deadlineMs?: number;
  /** Keeps the sandbox that runs. */
  again?: boolean;
}

/** The function over a sandbox of its own. */
async function start(options: StartOptions = {}) {
  const { apiKey = 'sk-sandbox', timeoutMs = 5_000, deadlineMs = 15_000, again = false } = options;
  if (!again) {
    await sandbox?.close();
    sandbox = await startLitellmSandbox({ seed: 5, now: () => now, ...options });
  }
  const { utcOffsetMinutes = 0, kv = createMemoryKv(), epoch = '2026-07-01' } = options;
  const reports = openReports({
    litellm: createLitellmClient({
      baseUrl: sandbox.url,
      apiKey: () => apiKey,
      timeoutMs,
      attempts: 1,
      utcOffsetMinutes,
    }),
    kv,
    identity: () => apiKey,
    epoch,
    utcOffsetMinutes,
    allowFullScan: options.allowFullScan ?? false,
    nameOverrides: options.nameOverrides ?? {},
    now: () => now,
  });
  const handler = defineFunction(
    { authenticate: async () => ({ name: 'test', method: 'none' }) },
    createLlmGlobalSpend({ reports, now: () => now, deadlineMs }),
  );
  return async (query = '', call: CallOptions = {}) => {
    const { event, context, lines } = makeCall({ url: `/${query === '' ? '' : `?${query}`}`, ...call });
    const response = await handler(event, context);
    const text = String(response.body);
    const isJson = text.startsWith('{');
    return {
      status: response.status,
      headers: response.headers as Record<string, string>,
      text,
      logged: lines.map((line) => JSON.parse(line)),
      body: (isJson ? bodyOf(response) : {}) as Wire,
    };
  };
}

const dates = 'start_date=2026-10-20&end_date=2026-11-21';
const inWindow = (row: SpendLogRow) => row.startTime >= '2026-10-20' && row.startTime < '2026-11-22';
const sumOf = (rows: SpendLogRow[]) => usdToNumber(rows.reduce((sum, row) => sum + parseUsd(row.spend), 0n));

/** What each group has to be, by the sandbox's own rows. */
function expectedGroups(read: (row: SpendLogRow) => string[], kept = inWindow) {
  const groups = new Map<string, SpendLogRow[]>();
  for (const row of sandbox.rows.filter(kept)) {
    for (const id of read(row)) groups.set(id, [...(groups.get(id) ?? []), row]);
  }
  return Object.fromEntries([...groups].map(([id, rows]) => [id, sumOf(rows)]));
}

const foundGroups = ({ groups }: Wire, ...names: string[]) =>
  Object.fromEntries(groups.map((group) => [names.map((name) => group[name]?.id).join('|'), group.spend_usd]));

const read: Record<string, (row: SpendLogRow) => string[]> = {
  day: (row) => [row.startTime.slice(0, 10)],
  month: (row) => [row.startTime.slice(0, 7)],
  model: (row) => [row.model],
  user: (row) => [row.user],
  key: (row) => [row.api_key],
  provider: (row) => [row.custom_llm_provider],
  team: (row) => [row.team_id],
  end_user: (row) => [row.end_user],
  tag: (row) => row.request_tags,
};

describe('the same month', () => {
  it.each(profiles)('behind %s has the same three numbers and the same total', async (profile) => {
    const ask = await start({ profile });
    expect((await ask()).body).toEqual({
      global_spend: sumOf(sandbox.rows),
      current_month_spend: sumOf(sandbox.rows.filter((row) => row.startTime >= '2026-11-01')),
      today_spend: sumOf(sandbox.rows.filter((row) => row.startTime >= '2026-11-21')),
    });
    const { status, body } = await ask(dates);
    expect({ status, spend: body.spend_usd, complete: body.complete, groups: body.groups }).toEqual({
      status: 200,
      spend: sumOf(sandbox.rows.filter(inWindow)),
      complete: true,
      groups: [],
    });
    expect(body.window).toEqual({ start_date: '2026-10-20', end_date: '2026-11-21', timezone: 'UTC' });
  });

  it.each(
    profiles.flatMap((profile) => ['day', 'month', 'model', 'user', 'key'].map((name) => [profile, name] as const)),
  )('behind %s has the same groups by %s', async (profile, name) => {
    const ask = await start({ profile });
    const { status, body } = await ask(`${dates}&group_by=${name}`);
    expect(status).toBe(200);
    expect(body.complete).toBe(true);
    expect(foundGroups(body, name)).toEqual(expectedGroups(read[name]!));
    const spends = body.groups.map(({ spend_usd: spend }) => spend);
    expect(spends).toEqual(spends.toSorted((left, right) => right - left));
  });

  it.each(
    ['1.79', '1.101'].flatMap((profile) =>
      ['provider', 'team', 'end_user', 'tag', 'model,key', 'model,user', 'day,team', 'month,provider'].map(
        (names) => [profile, names] as const,
      ),
    ),
  )('behind %s has the same groups by %s', async (profile, names) => {
    const ask = await start({ profile });
    const { status, body } = await ask(`${dates}&group_by=${names}`);
    expect(status).toBe(200);
    expect(body.complete).toBe(true);
    const [first, second] = names.split(',') as [string, string?];
    const pairs = (row: SpendLogRow) =>
      read[first]!(row).flatMap((left) => (second ? read[second]!(row).map((right) => `${left}|${right}`) : [left]));
    expect(foundGroups(body, ...names.split(','))).toEqual(expectedGroups(pairs));
    expect(body.requests).toBe(sandbox.rows.filter(inWindow).length);
  });

  it.each(['provider', 'team', 'end_user', 'tag', 'model,user', 'model,key'])(
    'behind 1.53.7 has no groups by %s, and says so',
    async (names) => {
      const ask = await start({ profile: '1.53' });
      const { status, body } = await ask(`${dates}&group_by=${names}`);
      expect({ status, code: body.code }).toEqual({ status: 422, code: 'unsupported_by_source' });
      expect(body.error).toContain('ALLOW_FULL_SCAN');
    },
  );

  it.each(['team', 'end_user', 'tag', 'model,user'])(
    'behind 1.53.7 has groups by %s where every row may be read at once',
    async (names) => {
      const ask = await start({ profile: '1.53', allowFullScan: true });
      const { body } = await ask(`${dates}&group_by=${names}`);
      const [first, second] = names.split(',') as [string, string?];
      const pairs = (row: SpendLogRow) =>
        read[first]!(row).flatMap((left) => (second ? read[second]!(row).map((right) => `${left}|${right}`) : [left]));
      expect(foundGroups(body, ...names.split(','))).toEqual(expectedGroups(pairs));
      expect(body).toMatchObject({ source: 'spend_logs_full_scan', complete: true });
      expect((await ask(`${dates}&group_by=provider`)).body.code).toBe('unsupported_by_source');
    },
  );
});

describe('filters', () => {
  it.each(profiles)('by user, model and key count the same behind %s', async (profile) => {
    const ask = await start({ profile });
    const where = (kept: (row: SpendLogRow) => boolean) =>
      sumOf(sandbox.rows.filter((row) => inWindow(row) && kept(row)));
    const alice = sandbox.rows.find((row) => row.user === 'alice')!;
    expect((await ask(`${dates}&user_id=alice`)).body.spend_usd).toBe(where((row) => row.user === 'alice'));
    expect((await ask(`${dates}&model=gpt-4o`)).body.spend_usd).toBe(where((row) => row.model === 'gpt-4o'));
    for (const key of [alice.api_key, 'alice-notebook', 'sk-alice']) {
      expect((await ask(`${dates}&api_key=${key}`)).body.spend_usd).toBe(where((row) => row.api_key === alice.api_key));
    }
    const { body } = await ask(`${dates}&user_id=alice&group_by=model`);
    expect(foundGroups(body, 'model')).toEqual(
      expectedGroups(read.model!, (row) => inWindow(row) && row.user === 'alice'),
    );
    // A key never leaves as it is.
    expect(sandbox.ledger.some(({ query, headers }) => `${query}${headers.authorization}`.includes('sk-alice'))).toBe(
      false,
    );
  });

  it.each(['1.79', '1.101'])(
    'by team, end user and tag, joined by "and", count the same behind %s',
    async (profile) => {
      const ask = await start({ profile });
      const { body } = await ask(`${dates}&team_id=team-research&end_user=acme&tag=prod&group_by=user`);
      const kept = (row: SpendLogRow) =>
        inWindow(row) &&
        row.team_id === 'team-research' &&
        row.end_user === 'acme' &&
        row.request_tags.includes('prod');
      expect(foundGroups(body, 'user')).toEqual(expectedGroups(read.user!, kept));
      expect(body.groups.length).toBeGreaterThan(0);
    },
  );

  it('by the alias of a key that nobody has is refused', async () => {
    const ask = await start();
    const { status, body } = await ask(`${dates}&api_key=nobody`);
    expect(status).toBe(400);
    expect(body.error).toMatch(/^api_key is not known/);
  });
});

describe('names', () => {
  it.each(profiles)('of keys, teams and users come with %s and stay after deletion', async (profile) => {
    const ask = await start({ profile, nameOverrides: { user: { default_user_id: 'Automation' } } });
    const name = async (dimension: string) =>
      Object.fromEntries(
        (await ask(`${dates}&group_by=${dimension}`)).body.groups.map((group) => [
          group[dimension]!.id,
          group[dimension]!.name,
        ]),
      );
    const keyOf = (user: string) => sandbox.rows.find((row) => row.user === user)!.api_key;
    expect(await name('user')).toMatchObject({ alice: 'alice@example.com', default_user_id: 'Automation' });
    expect((await name('key'))[keyOf('bob')]).toBe('bob-cli');
    sandbox.directory.keys.length = 1;
    sandbox.directory.users.length = 1;
    sandbox.directory.teams.length = 0;
    sandbox.directory.keys.push({ ...sandbox.directory.keys[0]!, token: 'x' });
    now = new Date(now.getTime() + 2 * 3_600_000);
    try {
      expect((await name('key'))[keyOf('bob')]).toBe('bob-cli');
      expect((await name('user')).bob).toBe('bob@example.com');
      if (profile !== '1.53') expect((await name('team'))['team-research']).toBe('Research');
    } finally {
      now = new Date('2026-11-21T06:30:00Z');
    }
  });
});

describe('days of other zones', () => {
  const berlin = `${dates}&timezone=Europe/Berlin&group_by=day`;

  it.each(['1.79', '1.101'])('are cut from single requests behind %s', async (profile) => {
    const ask = await start({ profile });
    const { body } = await ask(berlin);
    const dayOf = (row: SpendLogRow) => [
      new Intl.DateTimeFormat('sv-SE', { timeZone: 'Europe/Berlin', dateStyle: 'short' }).format(
        new Date(row.startTime),
      ),
    ];
    const kept = (row: SpendLogRow) => row.startTime >= '2026-10-19T22' && row.startTime < '2026-11-21T23';
    expect(foundGroups(body, 'day')).toEqual(expectedGroups(dayOf, kept));
    expect(body).toMatchObject({ complete: true, source: 'spend_logs_rows', window: { timezone: 'Europe/Berlin' } });
  });

  it('are days of UTC behind 1.53.7, and the answer says so', async () => {
    const ask = await start({ profile: '1.53' });
    const { body } = await ask(berlin);
    expect(foundGroups(body, 'day')).toEqual(expectedGroups(read.day!));
    expect(body.window.timezone).toBe('UTC');
    expect(body).toMatchObject({ complete: false, notes: [{ code: 'proxy_days' }, { code: 'money_only' }] });
    expect(await ask(`${berlin}&strict=true`)).toMatchObject({ status: 502, body: { code: 'incomplete' } });
  });

  it('are the days of a proxy that stores the time of its host', async () => {
    const ask = await start({ profile: '1.53', utcOffsetMinutes: 60 });
    const { body } = await ask('start_date=2026-11-01&end_date=2026-11-20&timezone=Europe/Berlin&group_by=day');
    const dayOf = (row: SpendLogRow) => [new Date(Date.parse(row.startTime) + 3_600_000).toISOString().slice(0, 10)];
    const kept = (row: SpendLogRow) => row.startTime >= '2026-10-31T23' && row.startTime < '2026-11-20T23';
    expect(foundGroups(body, 'day')).toEqual(expectedGroups(dayOf, kept));
    expect(body.complete).toBe(true);
    const utc = (await ask('start_date=2026-11-01&end_date=2026-11-20&group_by=day')).body;
    expect(utc).toMatchObject({ complete: false, window: { timezone: '+01:00' } });
  });
});

describe('what is missing', () => {
  it.each(profiles)('is said when the key of an internal user is shown its own spend by %s', async (profile) => {
    const ask = await start({ profile, apiKey: 'sk-alice' });
    const { body } = await ask(dates);
    expect(body.spend_usd).toBe(sumOf(sandbox.rows.filter((row) => inWindow(row) && row.user === 'alice')));
    expect(body.complete).toBe(false);
    expect(body.notes[0]).toMatchObject({ code: 'scoped_to_user', message: expect.stringContaining('alice') });
    expect(await ask(`${dates}&strict=true`)).toMatchObject({ status: 502, body: { code: 'incomplete' } });
  });

  it.each(profiles)(
    'from the three numbers of %s is said beside them, as they have no room for it',
    async (profile) => {
      const whole = await (await start({ profile }))();
      expect(whole.headers).toMatchObject({ 'X-Spend-Complete': 'true' });
      const { body, headers, logged } = await (await start({ profile, apiKey: 'sk-alice' }))();
      expect(Object.keys(body)).toEqual(['global_spend', 'current_month_spend', 'today_spend']);
      expect(headers).toMatchObject({ 'X-Spend-Complete': 'false' });
      expect(logged).toContainEqual(
        expect.objectContaining({
          level: 'warn',
          msg: 'the totals are incomplete',
          notes: [expect.objectContaining({ code: 'scoped_to_user' })],
        }),
      );
    },
  );

  it.each(['1.79', '1.101'])('from the daily tables of %s comes from the logs', async (profile) => {
    const ask = await start({ profile, dailySince: '2026-11-05T12:00:00Z' });
    const byDay = (await ask(`${dates}&group_by=day`)).body;
    expect(foundGroups(byDay, 'day')).toEqual(expectedGroups(read.day!));
    expect(byDay).toMatchObject({ complete: true, requests: null });
    const byProvider = (await ask(`${dates}&group_by=provider`)).body;
    expect(foundGroups(byProvider, 'provider')).toEqual(expectedGroups(read.provider!));
    expect(byProvider.complete).toBe(true);
    expect((await ask()).body).toMatchObject({ global_spend: sumOf(sandbox.rows) });
  });

  it('from the daily tables, and from everything else, is named with its amount', async () => {
    // Pages closed to the key, and no summarize=false before June 2025: no rows by date at all.
    const ask65 = await start({
      profile: '1.79',
      dailySince: '2026-11-05T12:00:00Z',
      differs: {
        knowsSummarize: false,
        without: ['/spend/logs/v2', '/spend/logs/ui', '/user/daily/activity/aggregated'],
      },
    });
    const report = (await ask65(`${dates}&group_by=provider`)).body;
    const early = sandbox.rows.filter((row) => inWindow(row) && row.startTime < '2026-11-06');
    expect(report.complete).toBe(false);
    const missing = early.reduce((sum, row) => sum + parseUsd(row.spend), 0n);
    expect(report.notes).toContainEqual({
      code: 'no_history',
      message: expect.stringContaining(`${formatUsd(missing)} USD`),
    });
  });

  it('from logs that were deleted is said where the daily tables know better', async () => {
    const ask = await start({ profile: '1.101', keptSince: '2026-11-01T00:00:00Z' });
    expect((await ask(`${dates}&group_by=model`)).body).toMatchObject({
      spend_usd: sumOf(sandbox.rows.filter(inWindow)),
      complete: true,
    });
    const { body } = await ask(`${dates}&group_by=team`);
    expect(body.complete).toBe(false);
    expect(body.notes).toMatchObject([{ code: 'logs_deleted' }]);
  });

  it.each(['1.79', '1.101'])('from logs of %s is said where only the daily tables are kept', async (profile) => {
    const ask = await start({ profile, keptSince: '2026-12-01T00:00:00Z' });
    for (const days of ['start_date=2026-11-21&end_date=2026-11-21', dates]) {
      const { body } = await ask(`${days}&group_by=team`);
      expect(body).toMatchObject({ spend_usd: 0, complete: false });
      expect(body.notes).toContainEqual(expect.objectContaining({ code: 'logs_deleted' }));
    }
  });

  it('from daily tables that lost some rows is said where the logs know better, also beside the three numbers', async () => {
    const ask = await start({
      profile: '1.101',
      keptSince: '2026-11-01',
      dailyLoses: ({ request_id: id }) => id === 'lost',
    });
    sandbox.addRow({ request_id: 'lost', startTime: '2026-11-03T10:00:00Z', spend: 3 });
    const { body } = await ask(`${dates}&group_by=model`);
    expect(body.complete).toBe(false);
    expect(body.notes).toContainEqual({
      code: 'daily_tables_short',
      message: expect.stringMatching(/know of 3(\.0+\d*)? USD more/),
    });
    expect(await ask(`${dates}&strict=true`)).toMatchObject({ status: 502, body: { code: 'incomplete' } });
    const totals = await ask();
    expect(totals.headers).toMatchObject({ 'X-Spend-Complete': 'false' });
  });

  it('cannot be told when the other ledger fails, which is no reason to answer nothing', async () => {
    const ask = await start({ profile: '1.101', timeoutMs: 300 });
    await ask('start_date=2026-11-21&end_date=2026-11-21');
    sandbox.faults.push({ kind: 'status', status: 500, path: '^/spend/logs$', times: 1_000 });
    const { status, body } = await ask(`${dates}&group_by=model`);
    expect({ status, complete: body.complete }).toEqual({ status: 200, complete: true });
    expect(body.notes).toMatchObject([{ code: 'unchecked' }]);
    expect(foundGroups(body, 'model')).toEqual(expectedGroups(read.model!));
  });

  it('from before the epoch is not read, and the answer says so', async () => {
    const ask = await start({ profile: '1.101', epoch: '2026-11-01' });
    const { body } = await ask('start_date=2020-01-01&end_date=2026-11-21&group_by=team');
    expect(body).toMatchObject({
      spend_usd: sumOf(sandbox.rows.filter((row) => row.startTime >= '2026-11-01')),
      notes: [{ code: 'before_epoch', message: expect.stringContaining('2026-11-01') }],
    });
    expect(sandbox.ledger.every(({ query }) => !query.includes('2020-'))).toBe(true);
  });

  it('for some seconds, as rows are written late, is there with the next call', async () => {
    const kv = createMemoryKv();
    const ask = await start({ profile: '1.101', kv, writeLagMs: 30_000 });
    sandbox.addRow({
      request_id: 'late',
      startTime: '2026-11-21T06:29:00Z',
      endTime: '2026-11-21T06:29:50Z',
      spend: 5,
    });
    const first = (await ask(dates)).body.spend_usd;
    now = new Date('2026-11-21T06:30:25Z');
    try {
      expect((await ask(dates)).body.spend_usd).toBeCloseTo(first + 5, 9);
    } finally {
      now = new Date('2026-11-21T06:30:00Z');
    }
  });
});

describe('memory', () => {
  const sweeps = () =>
    sandbox.ledger.filter(({ path }) => path.startsWith('/spend/logs/') || path.endsWith('aggregated'));

  it('asks again for the last days only, also after a restart', async () => {
    const kv = createMemoryKv();
    const first = await (await start({ profile: '1.101', kv }))(`${dates}&group_by=team`);
    const asked = sweeps().length;
    sandbox.ledger.length = 0;
    const again = await (await start({ profile: '1.101', kv, again: true }))(`${dates}&group_by=team`);
    expect(again.body).toEqual(first.body);
    expect(asked).toBeGreaterThan(30);
    const days = sweeps().map(({ query }) => new URLSearchParams(query).get('start_date')!.slice(0, 10));
    expect([...new Set(days)].sort()).toEqual(['2026-11-19', '2026-11-20', '2026-11-21']);
  });

  it('answers one report from the days that another one read', async () => {
    const ask = await start({ profile: '1.101' });
    await ask(`${dates}&group_by=team`);
    sandbox.ledger.length = 0;
    await ask(`${dates}&group_by=end_user,tag`);
    expect(sweeps()).toEqual([]);
  });

  it('forgets with refresh=true', async () => {
    const ask = await start({ profile: '1.101' });
    const before = (await ask(`${dates}&group_by=team`)).body.spend_usd;
    sandbox.addRow({ request_id: 'very-late', startTime: '2026-10-25T10:00:00Z', spend: 7, team_id: 'team-research' });
    expect((await ask(`${dates}&group_by=team`)).body.spend_usd).toBe(before);
    expect((await ask(`${dates}&group_by=team&refresh=true`)).body.spend_usd).toBeCloseTo(before + 7, 9);
    expect((await ask(`${dates}&group_by=team`)).body.spend_usd).toBeCloseTo(before + 7, 9);
  });

  it('sweeps once for two equal calls at once, also when one of them leaves', async () => {
    const ask = await start({ profile: '1.101' });
    await ask(`${dates}&group_by=team`);
    const single = sweeps().length;
    const both = await start({ profile: '1.101' });
    const leaving = new AbortController();
    const gone = both(`${dates}&group_by=team`, { signal: leaving.signal });
    const stays = both(`${dates}&group_by=team`);
    const third = both(`${dates}&group_by=team`);
    setImmediate(() => leaving.abort());
    expect((await gone).status).toBe(499);
    expect((await stays).body).toEqual((await third).body);
    expect(sweeps().length).toBe(single);
  });

  it('does not mix what different keys may see', async () => {
    const kv = createMemoryKv();
    const alice = await (await start({ profile: '1.101', kv, apiKey: 'sk-alice' }))(dates);
    const all = await (await start({ profile: '1.101', kv, again: true }))(dates);
    expect(all.body.spend_usd).toBeGreaterThan(alice.body.spend_usd);
    expect(all.body.complete).toBe(true);
  });
});

describe('size', () => {
  const pages = () => sandbox.ledger.filter(({ path }) => path.endsWith('/v2'));

  it('reads a year of a new proxy in a dozen calls', async () => {
    const ask = await start({ profile: '1.101', epoch: '2023-12-01' });
    const { body } = await ask('start_date=2025-11-22&end_date=2026-11-21&group_by=day');
    expect(body.complete).toBe(true);
    expect(sandbox.ledger.length).toBeLessThanOrEqual(12);
  });

  it('finds out with one call that an old proxy has no single requests, however long the window', async () => {
    const ask = await start({ profile: '1.53', epoch: '2023-12-01' });
    const { body } = await ask('start_date=2023-12-01&end_date=2026-11-21&group_by=day&timezone=Africa/Cairo');
    expect(body.notes).toContainEqual(expect.objectContaining({ code: 'proxy_days' }));
    expect(sandbox.ledger.length).toBeLessThan(60);
  });

  it('reads a window that takes too long by halves', async () => {
    const ask = await start({ profile: '1.53', timeoutMs: 300 });
    sandbox.faults.push({ kind: 'hang', path: '^/spend/logs$', times: 3 });
    const { status, body } = await ask(`${dates}&group_by=day`);
    expect(status).toBe(200);
    expect(foundGroups(body, 'day')).toEqual(expectedGroups(read.day!));
  });

  it('reads a window that was cut by halves', async () => {
    const ask = await start({ profile: '1.101' });
    sandbox.faults.push({ kind: 'cut', afterBytes: 5_000, path: 'aggregated', times: 1 });
    const { status, body } = await ask(`${dates}&group_by=day`);
    expect(status).toBe(200);
    expect(foundGroups(body, 'day')).toEqual(expectedGroups(read.day!));
  });

  it('says that it took too long, and goes on from there when asked again', async () => {
    const kv = createMemoryKv();
    const ask = await start({ profile: '1.101', kv, deadlineMs: 400 });
    for (let index = 0; index < 12; index++) sandbox.faults.push({ kind: 'slow', delayMs: 60, path: 'v2', times: 3 });
    const first = await ask(`${dates}&group_by=team`);
    expect({ status: first.status, code: first.body.code }).toEqual({ status: 504, code: 'deadline_passed' });
    expect(first.body.error).toContain('SPEND_DEADLINE_MS');
    sandbox.faults.length = 0;
    sandbox.ledger.length = 0;
    const again = await (await start({ profile: '1.101', kv, again: true }))(`${dates}&group_by=team`);
    expect(foundGroups(again.body, 'team')).toEqual(expectedGroups(read.team!));
    expect(pages().length).toBeLessThan(33);
  });
});

describe('formats', () => {
  it('takes the same by POST as JSON, and gives CSV with exact money', async () => {
    const ask = await start({ profile: '1.101', nameOverrides: { team: { 'team-product': '=HYPERLINK("x")' } } });
    const body = JSON.stringify({
      start_date: '2026-10-20',
      end_date: '2026-11-21',
      group_by: ['team'],
      timezone: null,
    });
    const posted = await ask('', { method: 'POST', body });
    expect(posted.body).toEqual((await ask(`${dates}&group_by=team`)).body);
    const csv = (await ask(`${dates}&group_by=team&format=csv`)).text;
    const lines = csv.split('\r\n');
    expect(lines[0]).toBe('team,team_name,spend_usd,requests,input_tokens,output_tokens,total_tokens');
    expect(lines).toHaveLength(5);
    expect(csv).toContain(`team-product,"'=HYPERLINK(""x"")",`);
    const exact = sandbox.rows
      .filter((row) => inWindow(row) && row.team_id === 'team-product')
      .reduce((sum, row) => sum + parseUsd(row.spend), 0n);
    expect(csv).toContain(`,${formatUsd(exact)},`);
  });
});

describe('trouble', () => {
  it.each([
    [{ apiKey: 'sk-wrong' }, 502, /check LITELLM_API_KEY/],
    [{ apiKey: 'sk-spent' }, 502, /budget of LITELLM_API_KEY is used up/],
    [{ database: false }, 502, /connect LiteLLM to its database/],
  ] as const)('of %j is answered with %i and what to fix', async (options, status, sentence) => {
    for (const profile of profiles) {
      const ask = await start({ profile, ...options });
      const answer = await ask(`${dates}&group_by=model`);
      expect(answer.status).toBe(status);
      expect(answer.body.error).toMatch(sentence);
      expect(JSON.stringify(answer.body)).not.toMatch(/127\.0\.0\.1|sk-/);
    }
  });

  it('of a page of HTML in front, and of a proxy that is gone, says which setting to check', async () => {
    const ask = await start();
    sandbox.faults.push({ kind: 'html', times: 1_000 });
    expect((await ask(dates)).body.error).toMatch(/LITELLM_API_BASE_URL/);
    await sandbox.close();
    expect((await ask(dates)).body).toMatchObject({ code: 'upstream_network' });
  });

  it('of something in front of a proxy that restarts is not taken for an old version', async () => {
    const ask = await start({ profile: '1.101' });
    sandbox.faults.push({ kind: 'status', status: 404, text: '404 page not found', times: 1_000 });
    expect((await ask(dates)).status).toBe(502);
    sandbox.faults.length = 0;
    expect((await ask(dates)).body).toMatchObject({ source: 'daily_activity_aggregated', complete: true });
  });

  it.each([
    ['user=alice', 'unknown_parameter', /"user".*start_date/],
    ['start_date=2026-02-30', 'invalid_parameter', /^start_date must be a day/],
    ['end_date=tomorrow', 'invalid_parameter', /^end_date must be a day/],
    ['start_date=2026-11-02&end_date=2026-11-01', 'invalid_parameter', /^end_date must not be before start_date/],
    ['timezone=Mars/Olympus', 'invalid_parameter', /^timezone is not known.*IANA/],
    ['group_by=colour', 'invalid_parameter', /^group_by takes one or two of day, month/],
    ['group_by=day,model,user', 'invalid_parameter', /^group_by takes one or two/],
    ['group_by=day&group_by=day', 'invalid_parameter', /^group_by takes one or two different/],
    ['format=xml', 'invalid_parameter', /^format takes one of json/],
    ['strict=maybe', 'invalid_parameter', /^strict must be true or false/],
    ['user_id=a%00b', 'invalid_parameter', /^user_id must not have control characters/],
    ['model=', 'invalid_parameter', /^model must have 1 to 500/],
    ['start_date=2026-11-01&start_date=2026-11-02', 'invalid_parameter', /^start_date must be a text/],
  ])('in %s is a 400 %s that names the parameter', async (query, code, sentence) => {
    const ask = await start();
    const { status, body } = await ask(query);
    expect({ status, code: body.code }).toEqual({ status: 400, code });
    expect(body.error).toMatch(sentence);
    expect(sandbox.ledger).toEqual([]);
  });
});
