import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UpstreamError } from '#shared/errors.ts';
import { formatUsd } from '#shared/money.ts';
import { parseBudgets } from '../../../functions/llm-global-spend/budgets/budget.ts';
import { toPeriod } from '../../../functions/llm-global-spend/budgets/period.ts';
import { readStates } from '../../../functions/llm-global-spend/budgets/read.ts';
import { capGroups, renderMetrics } from '../../../functions/llm-global-spend/metrics/metrics.ts';
import { createMetricsRoutes } from '../../../functions/llm-global-spend/metrics/routes.ts';
import { parseQuery } from '../../../functions/llm-global-spend/report/query.ts';
import { makeCall } from '../../support/call.ts';
import { createFactReports, type FactReports, type SpendFact } from '../../support/spend-reports.ts';

const now = new Date('2026-11-21T12:00:00Z');
const { signal } = new AbortController();
const facts: SpendFact[] = [
  { day: '2026-10-30', usd: '7', model: 'gpt-4o', team: 't1', user: 'ada' },
  { day: '2026-11-20', usd: '2', model: 'gpt-4o', team: 't1', user: 'ada' },
  { day: '2026-11-21', usd: '1', model: 'claude "3"', team: 't2', user: 'bob' },
  { day: '2026-11-21', usd: '0.5', model: 'tiny', team: '', user: 'eve' },
];

async function render({
  maxSeries = 50,
  partsMs = 5_000,
  without = [] as 'team'[],
  change = (_: FactReports): unknown => undefined,
} = {}) {
  const reports = createFactReports(facts, () => now);
  change(reports);
  reports.names = { t1: 'Research' };
  for (const name of without) reports.unsupported.add(name);
  const parsed = parseBudgets('[{"name":"all","scope":"proxy","period":"month","limit_usd":10}]');
  const budgets = 'budgets' in parsed ? parsed.budgets : [];
  const wanted = budgets.map((budget) => ({ budget, period: toPeriod(budget.period, now) }));
  const states = (asked: AbortSignal) => readStates({ reports, wanted, now, signal: asked });
  return renderMetrics({ reports, budgets: { states }, maxSeries, signal, now, partsMs });
}

describe('the metrics', () => {
  it('are what was spent ever, this month and today, by model, team and user, and the budgets', async () => {
    const lines = (await render()).split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        'llm_spend_usd{window="total"} 10.5',
        'llm_spend_usd{window="month"} 3.5',
        'llm_spend_usd{window="today"} 1.5',
        'llm_spend_complete{window="total"} 1',
        'llm_spend_complete{window="month"} 1',
        'llm_spend_read{part="team",window="month"} 1',
        'llm_spend_read{part="budgets",window=""} 1',
        'llm_spend_by_model_usd{window="month",model="gpt-4o"} 2',
        'llm_spend_by_model_usd{window="today",model="claude \\"3\\""} 1',
        'llm_spend_by_team_usd{window="month",team="t1",name="Research"} 2',
        'llm_spend_by_team_usd{window="month",team="",name=""} 0.5',
        'llm_spend_by_user_usd{window="today",user="bob",name="bob"} 1',
        'llm_budget_limit_usd{budget="all",scope="proxy",period="month"} 10',
        'llm_budget_spend_usd{budget="all",scope="proxy",period="month"} 3.5',
      ]),
    );
    expect(lines.some((line) => line.startsWith('llm_budget_forecast_usd{'))).toBe(true);
  });

  it('name so many of each and sum the rest as other', async () => {
    const lines = (await render({ maxSeries: 1 })).split('\n');
    expect(lines.filter((line) => line.startsWith('llm_spend_by_model_usd{window="month"'))).toEqual([
      'llm_spend_by_model_usd{window="month",model="gpt-4o"} 2',
      'llm_spend_by_model_usd{window="month",model="other"} 1.5',
    ]);
    expect(lines).toContain('llm_spend_by_team_usd{window="month",team="other",name="other"} 1.5');
  });

  it('leave out what this LiteLLM does not know', async () => {
    const text = await render({ without: ['team'] });
    expect(text).not.toContain('llm_spend_by_team_usd{');
    expect(text).toContain('llm_spend_by_user_usd{');
  });

  it('are there without what LiteLLM could not tell in time, and say so', async () => {
    const text = await render({
      partsMs: 20,
      change(reports) {
        const read = reports.read;
        reports.read = (asked, context) =>
          asked.groupBy[0] === 'team' && asked.startDate === '2026-11-01'
            ? new Promise((_resolve, reject) =>
                context.signal.addEventListener('abort', () => reject(context.signal.reason)),
              )
            : read(asked, context);
      },
    });
    const lines = text.split('\n');
    expect(lines).toContain('llm_spend_usd{window="total"} 10.5');
    expect(lines).toContain('llm_spend_read{part="team",window="month"} 0');
    expect(lines).toContain('llm_spend_read{part="team",window="today"} 1');
    expect(lines).toContain('llm_budget_spend_usd{budget="all",scope="proxy",period="month"} 3.5');
    expect(text).not.toContain('llm_spend_by_team_usd{window="month"');
    expect(text).toContain('llm_spend_by_team_usd{window="today"');
  });

  it('are there when LiteLLM refuses a part, and not when it refuses the totals', async () => {
    const refused = new UpstreamError('LiteLLM', 'status', 'x', { status: 500 });
    const text = await render({ change: (reports) => Object.assign(reports, { read: () => Promise.reject(refused) }) });
    expect(text).toContain('llm_spend_usd{window="today"} 1.5');
    expect(text).toContain('llm_spend_read{part="total",window="month"} 0');
    expect(text).not.toContain('llm_spend_complete{window="month"}');
    await expect(render({ change: (reports) => Object.assign(reports, { failure: refused }) })).rejects.toBe(refused);
  });

  it('tell of totals that are known to lack something', async () => {
    const text = await render({ change: (reports) => void reports.notes.push({ code: 'logs_deleted', message: 'x' }) });
    expect(text).toContain('llm_spend_complete{window="total"} 0');
  });

  it('have series that sum to the whole, for any groups and any cap', () => {
    const group = fc.record({
      id: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'other', ''),
      spend: fc.bigInt({ min: 0n, max: 10n ** 15n }),
    });
    const list = fc.uniqueArray(group, { selector: ({ id }) => id });
    fc.assert(
      fc.property(list, fc.integer({ min: 1, max: 8 }), (found, cap) => {
        const groups = found.map(({ id, spend }) => ({
          by: { model: { id, name: id } },
          spend,
          requests: null,
          tokens: null,
        }));
        const capped = [...capGroups({ groups }, 'model', cap).values()];
        const sum = (items: { spend: bigint }[]) => formatUsd(items.reduce((total, { spend }) => total + spend, 0n));
        expect(sum(capped)).toBe(sum(found));
        expect(capped.length).toBeLessThanOrEqual(cap + 1);
      }),
    );
  });

  it('of format=prometheus are the same, and of a window of its own those two days', async () => {
    const reports = createFactReports(facts, () => now);
    const budgets = { states: async () => [] };
    const { routes, renderers } = createMetricsRoutes({
      reports,
      budgets,
      now: () => now,
      maxSeries: 9,
      deadlineMs: 5_000,
    });
    const get = async (url: string) => {
      const call = { ...makeCall({ url }) } as never as Parameters<(typeof routes)['GET /metrics']>[0];
      const input = Object.fromEntries(new URL(url, 'http://f').searchParams);
      return String((await renderers.prometheus?.(parseQuery(input, now).query, call))?.body);
    };
    const all = await routes['GET /metrics']?.({ ...makeCall({ url: '/metrics' }) } as never);
    expect(all?.headers).toMatchObject({ 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' });
    expect(await get('/?format=prometheus')).toBe(all?.body);
    const own = await get('/?format=prometheus&start_date=2026-10-01&end_date=2026-10-31&group_by=user');
    expect(own).toContain('llm_spend_usd{window="2026-10-01/2026-10-31"} 7');
    expect(own).toContain('llm_spend_by_user_usd{window="2026-10-01/2026-10-31",user="ada",name="ada"} 7');
    expect(own).not.toContain('llm_spend_by_model_usd');
  });
});

describe('the Grafana dashboards', () => {
  const folder = join(import.meta.dirname, '../../../docs/grafana');
  const files = readdirSync(folder).filter((name) => /spend.*\.json$/.test(name));

  it.each(files)('%s asks for metrics and labels that exist, and for nothing else', async (file) => {
    const { panels } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as {
      panels: { title: string; targets: { expr: string }[] }[];
    };
    const text = await render();
    const known = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
    const labels = new Set([...text.matchAll(/(\w+)="/g)].map(([, name]) => name));
    const windows = new Set([...text.matchAll(/window="(\w+)"/g)].map(([, name]) => name));
    const queries = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
    expect(queries.length).toBeGreaterThan(5);
    for (const query of queries) {
      const names = [...query.matchAll(/\b(?:llm|spend)_\w+/g)].map(([name]) => name);
      expect(names.length).toBeGreaterThan(0);
      for (const name of names) expect(known, query).toContain(name);
      for (const [, name] of query.matchAll(/by \((\w+)\)/g)) expect(labels, query).toContain(name);
      for (const [, name] of query.matchAll(/window="(\w+)"/g)) expect(windows, query).toContain(name);
    }
  });

  it('are there', () => expect(files).toEqual(['llm-spend.json']));
});
