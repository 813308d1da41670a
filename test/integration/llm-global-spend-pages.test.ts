import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Handler } from '#shared/http/function.ts';
import { formatUsd, parseUsd } from '#shared/money.ts';
import createFunction from '../../functions/llm-global-spend/index.ts';
import { lastMonth } from '../../functions/llm-global-spend/statement/issue.ts';
import { type LitellmSandbox, startLitellmSandbox } from '../../sandbox/litellm.ts';
import { makeCall } from '../support/call.ts';

const month = lastMonth(new Date());
const previousTmp = process.env.TMPDIR;
let tmp: string;
const sandboxes: Record<string, LitellmSandbox> = {};
const open: Handler[] = [];

beforeAll(async () => {
  for (const profile of ['1.53', '1.79', '1.101']) sandboxes[profile] = await startLitellmSandbox({ seed: 3, profile });
});
afterAll(() => Promise.all(Object.values(sandboxes).map((sandbox) => sandbox.close())));
afterEach(async () => {
  for (const handler of open.splice(0)) await handler.close?.();
  if (previousTmp === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = previousTmp;
  rmSync(tmp, { recursive: true });
});

function start(profile: string, env: Record<string, string> = {}) {
  tmp = mkdtempSync(join(tmpdir(), 'pages-test-'));
  process.env.TMPDIR = tmp;
  const handler = createFunction({
    LITELLM_API_BASE_URL: sandboxes[profile]!.url,
    LITELLM_API_KEY: 'sk-sandbox',
    // Less to read than since 2023; the rows are of four months.
    LITELLM_EPOCH: `${month.slice(0, 4)}-01-01`,
    AUTH: 'none',
    SPEND_BUDGETS: '[{"scope":"proxy","period":"month","limit_usd":1}]',
    ...env,
  });
  open.push(handler);
  return async (url: string, headers: Record<string, string> = {}) => {
    const { event, context, lines } = makeCall({ url, headers });
    const response = await handler(event, context);
    const heads = Object.fromEntries(
      Object.entries(response.headers ?? {}).map(([name, value]) => [name.toLowerCase(), String(value)]),
    );
    return { status: response.status, headers: heads, body: String(response.body), lines };
  };
}

const browser = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };
const sumOf = (profile: string, prefix: string) =>
  formatUsd(
    sandboxes[profile]!.rows.filter(({ startTime }) => startTime.startsWith(prefix)).reduce(
      (sum, { spend }) => sum + parseUsd(spend),
      0n,
    ),
  );
const near = (left: string, right: string) => Math.abs(Number(left) - Number(right)) < 1e-9;

describe.each(['1.53', '1.79', '1.101'])('with LiteLLM %s', (profile) => {
  const isOld = profile === '1.53';

  it('shows the page to a browser, and the three numbers to everybody else', async () => {
    const call = start(profile);
    const page = await call('/', browser);
    expect(page.status).toBe(200);
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(page.body).toContain('<h2>By team</h2>');
    expect(page.body).toContain('everything per month');
    expect(Object.keys(JSON.parse((await call('/')).body))).toEqual([
      'global_spend',
      'current_month_spend',
      'today_spend',
    ]);
    expect((await call('/?format=json', browser)).headers['content-type']).toContain('application/json');
  });

  it('issues a statement whose total and tables are those of the rows', async () => {
    const call = start(profile);
    const { status, body } = await call(`/statement?month=${month}`);
    expect(status).toBe(200);
    const statement = JSON.parse(body);
    const { figures } = statement;
    expect(near(figures.total.spend_usd, sumOf(profile, month))).toBe(true);
    for (const lines of Object.values(figures.tables) as { spend_usd: string }[][]) {
      const sum = lines.reduce((total, line) => total + parseUsd(line.spend_usd), 0n);
      expect(near(formatUsd(sum), figures.total.spend_usd)).toBe(true);
    }
    expect(Object.keys(figures.tables)).toEqual(expect.arrayContaining(['user', 'key', 'day']));
    expect(Object.keys(figures.unavailable)).toEqual(isOld ? ['team', 'provider'] : []);
    // Only the oldest has no tokens, in the total and in every table.
    const lines = (Object.values(figures.tables) as { total_tokens: number | null }[][]).flat();
    expect([figures.total, ...lines].filter(({ total_tokens }) => (total_tokens === null) !== isOld)).toEqual([]);
    expect(statement).toMatchObject({ status: 'issued', durable: false, adjustments: [] });
    expect(JSON.parse((await call(`/statement?month=${month}`)).body)).toMatchObject({
      checksum: statement.checksum,
      issued_at: statement.issued_at,
      adjustments: [],
    });
  });

  it('gives Prometheus series that add up', async () => {
    const { status, headers, body } = await start(profile)('/metrics');
    expect([status, headers['content-type']]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    const valuesOf = (pattern: RegExp) =>
      body.split('\n').flatMap((line) => (pattern.test(line) ? [Number(line.slice(line.lastIndexOf(' ')))] : []));
    const [total] = valuesOf(/^llm_spend_usd\{window="month"\}/);
    expect(total).toBeGreaterThan(0);
    for (const by of ['model', 'user', ...(isOld ? [] : ['team'])]) {
      const values = valuesOf(new RegExp(`^llm_spend_by_${by}_usd\\{window="month"`));
      expect(values.length).toBeGreaterThan(1);
      expect(values.reduce((sum, value) => sum + value, 0)).toBeCloseTo(total!, 9);
    }
    expect(valuesOf(/^llm_budget_spend_usd\{/)).toEqual([total]);
    expect(body.includes('llm_spend_by_team_usd{')).toBe(!isOld);
  });
});

describe('the statement', () => {
  it('shows a change in LiteLLM as an adjustment, though closed days are remembered', async () => {
    const sandbox = await startLitellmSandbox({ seed: 5 });
    sandboxes.own = sandbox;
    const call = start('own');
    // The days are remembered by the page before.
    await call(`/?start_date=${month}-01&end_date=${month}-28&group_by=team`);
    const before = JSON.parse((await call(`/statement?month=${month}`)).body);
    sandbox.addRow({ request_id: 'late', startTime: `${month}-15T12:00:00.000Z`, spend: 0.75, team_id: 'late-team' });
    const after = JSON.parse((await call(`/statement?month=${month}`)).body);
    expect(after.checksum).toBe(before.checksum);
    expect(after.figures).toEqual(before.figures);
    expect(after.adjustments[0]).toMatchObject({ table: 'total', difference_requests: 1 });
    expect(near(after.adjustments[0].difference_usd, '0.75')).toBe(true);
    expect(after.adjustments.map(({ table }: { table: string }) => table)).toEqual(
      expect.arrayContaining(['total', 'team', 'provider', 'day']),
    );
    const page = await call(`/?view=statement&month=${month}`, browser);
    expect(page.body).toContain('Adjustments since the issue');
    expect(page.body).toContain('+$0.75');
    const csv = await call(`/statement?month=${month}&format=csv`, browser);
    expect(csv.headers).toMatchObject({
      'content-type': 'text/csv; charset=utf-8',
      'content-disposition': `attachment; filename="llm-statement-${month}.csv"`,
    });
    expect(csv.body).toContain(`${month},adjustment of total,,total,0.75,1,`);
  });

  it.each([
    ['/statement?month=2999-01', 'invalid_parameter', /month must be one that is over/],
    ['/statement?moth=2026-01', 'unknown_parameter', /\/statement takes month, format/],
    ['/statement?format=pdf', 'invalid_parameter', /format takes one of json, csv, html here/],
    ['/?view=secrets', 'invalid_parameter', /view takes one of statement, budgets/],
  ])('refuses %s, and says what is allowed', async (url, code, sentence) => {
    const { status, body } = await start('1.101')(url);
    expect(status).toBe(400);
    expect(JSON.parse(body)).toMatchObject({ code, error: expect.stringMatching(sentence) });
  });
});

describe('trouble', () => {
  it('is a page for a person, without a secret, and JSON for a program', async () => {
    const call = start('1.101', { LITELLM_API_KEY: 'sk-planted-wrong', LITELLM_TIMEOUT_MS: '2000' });
    const page = await call('/', browser);
    expect(page.status).toBe(502);
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(page.body).toContain('check LITELLM_API_KEY');
    expect(page.body + page.lines.join('\n')).not.toContain('planted');
    expect(page.lines.join('\n')).toContain('page failed');
    const program = await call('/?start_date=2026-01-01');
    expect(JSON.parse(program.body)).toMatchObject({ code: 'upstream_status' });
  });

  it('of a bad date keeps its status and its sentence, and gives the page a way back', async () => {
    const page = await start('1.101')('/?start_date=%3Cb%3E', browser);
    expect(page.status).toBe(400);
    expect(page.body).toContain('start_date must be a day from 2020-01-01');
    expect(page.body).toContain('&lt;b&gt;');
    expect(page.body).toContain('<a href="?">');
  });
});
