import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UpstreamError } from '#shared/errors.ts';
import { formatUsd, parseUsd } from '#shared/money.ts';
import { renderChart, toTickLabels, toTicks } from '../../../functions/llm-global-spend/page/chart.ts';
import { compact, dayRange, dollars, longMonth, shortDay } from '../../../functions/llm-global-spend/page/format.ts';
import { hiddenFields, toLink, toPresets, withoutFilter } from '../../../functions/llm-global-spend/page/links.ts';
import { renderPage } from '../../../functions/llm-global-spend/page/page.ts';
import { toStackedDays } from '../../../functions/llm-global-spend/page/series.ts';
import { readView } from '../../../functions/llm-global-spend/page/view.ts';
import { parseQuery } from '../../../functions/llm-global-spend/report/query.ts';
import { type SpendReport, toQuery } from '../../../functions/llm-global-spend/report/report.ts';
import { createFactReports, type SpendFact } from '../../support/spend-reports.ts';

const now = new Date('2026-11-21T12:00:00Z');
const { signal } = new AbortController();
const read = (facts: SpendFact[], groupBy: ('day' | 'month' | 'model')[] = ['day', 'model'], end = '2026-11-03') =>
  createFactReports(facts, () => now).read(toQuery({ startDate: '2026-11-01', endDate: end, groupBy }), { signal });

describe('the stacked days', () => {
  it('are every day of the window, also one without spend', async () => {
    const { columns } = toStackedDays(await read([{ day: '2026-11-02', usd: '3', model: 'm' }]));
    expect(columns.map(({ label, spend }) => [label, formatUsd(spend)])).toEqual([
      ['1 Nov', '0'],
      ['2 Nov', '3'],
      ['3 Nov', '0'],
    ]);
  });

  it('keep eight models apart, and sum the smallest of more as one', async () => {
    const models = (count: number) =>
      Array.from({ length: count }, (_, at) => ({ day: '2026-11-01', usd: String(100 - at), model: `m${at}` }));
    expect(toStackedDays(await read(models(8))).series.map(({ name }) => name)).toEqual(
      models(8).map(({ model }) => model),
    );
    const nine = toStackedDays(await read(models(9))).series;
    expect(nine.map(({ name }) => name)).toEqual([...models(7).map(({ model }) => model), '2 others']);
    expect(nine.at(-1)).toMatchObject({ color: 7, spend: parseUsd(93 + 92) });
  });

  it('are one series where the source cannot tell models', async () => {
    const { series } = toStackedDays(await read([{ day: '2026-11-01', usd: '1', model: 'm' }], ['day']));
    expect(series).toEqual([{ name: 'everything', color: 0, spend: parseUsd(1) }]);
  });

  it('sum to the whole, by day and by series, for any facts', async () => {
    const fact = fc.record({
      day: fc.constantFrom('2026-11-01', '2026-11-02', '2026-11-03'),
      usd: fc.bigInt({ min: 0n, max: 10n ** 14n }).map(formatUsd),
      model: fc.constantFrom(...'abcdefghijkl'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fact), async (facts) => {
        const report = await read(facts);
        const { series, columns } = toStackedDays(report);
        const sum = (values: bigint[]) => values.reduce((total, value) => total + value, 0n);
        expect(sum(columns.map(({ spend }) => spend))).toBe(report.spend);
        expect(sum(series.map(({ spend }) => spend))).toBe(report.spend);
        for (const { spend, parts } of columns) expect(sum(parts)).toBe(spend);
        for (const [at, { spend }] of series.entries()) expect(sum(columns.map(({ parts }) => parts[at]!))).toBe(spend);
      }),
    );
  });
});

describe('the chart', () => {
  it('has round steps that reach the top, six at most', () => {
    expect(toTicks(201)).toEqual([0, 50, 100, 150, 200, 250]);
    expect(toTicks(0.0007)).toEqual([0, 0.0002, 0.0004, 0.0006, 0.0008]);
    fc.assert(
      fc.property(fc.double({ min: 1e-9, max: 1e9, noNaN: true }), (top) => {
        const ticks = toTicks(top);
        expect(ticks.length).toBeLessThanOrEqual(6);
        expect(ticks.at(-1)! * (1 + 1e-9)).toBeGreaterThanOrEqual(top);
      }),
    );
  });

  it('writes the same digits on every step', () => {
    expect(toTickLabels(toTicks(0.17))).toEqual(['$0', '$0.05', '$0.10', '$0.15', '$0.20']);
    expect(toTickLabels(toTicks(9_000))).toEqual(['$0', '$2,000', '$4,000', '$6,000', '$8,000', '$10,000']);
    expect(toTickLabels(toTicks(12))).toEqual(['$0', '$2.5', '$5.0', '$7.5', '$10.0', '$12.5']);
  });

  it('is drawn inside its frame, for any spend', async () => {
    const usd = fc.bigInt({ min: 0n, max: 10n ** 18n }).map(formatUsd);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ day: fc.constant('2026-11-02'), usd, model: fc.constantFrom('a', 'b', 'c') })),
        async (facts) => {
          const { text } = renderChart(toStackedDays(await read(facts)), {
            width: 360,
            height: 230,
            labels: 5,
            kind: 'narrow',
          });
          expect(text).not.toMatch(/NaN|Infinity|="-|undefined/);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('the view', () => {
  const query = toQuery({ startDate: '2026-11-01', endDate: '2026-11-21' });
  const facts = [{ day: '2026-11-02', usd: '1', model: 'm', team: 't', user: 'u', key: 'k' }];
  const noBudgets = { states: async () => [] };

  it('is there without the tables that LiteLLM cannot tell in time', async () => {
    const reports = createFactReports(facts, () => now);
    const read = reports.read;
    reports.read = (asked, context) =>
      asked.groupBy[0] === 'team'
        ? new Promise((_resolve, reject) =>
            context.signal.addEventListener('abort', () => reject(context.signal.reason)),
          )
        : read(asked, context);
    const view = await readView(query, { reports, budgets: noBudgets, now, signal, partsMs: 20 });
    expect(view.tables.team).toMatch(/^LiteLLM needed too long for this/);
    expect(view.tables.user).toMatchObject({ groupBy: ['user'] });
    expect(renderPage(view, now)).toMatchObject({
      status: 200,
      body: expect.stringContaining('LiteLLM needed too long'),
    });
  });

  it('says why budgets or a table could not be read, and shows the rest', async () => {
    const reports = createFactReports(facts, () => now);
    reports.unsupported.add('team');
    const budgets = {
      states: () => Promise.reject(new UpstreamError('LiteLLM', 'status', 'secret detail', { status: 500 })),
    };
    const view = await readView(query, { reports, budgets, now, signal, partsMs: 1000 });
    expect(view.tables.team).toBe('This LiteLLM knows no spend by team');
    expect(view.notes).toEqual([{ code: 'budgets_unknown', message: 'Budgets: LiteLLM answered with an error' }]);
  });

  it('says that the totals above it are not all, though its own days are', async () => {
    const reports = createFactReports(facts, () => now);
    const totals = await reports.totals({ signal });
    const notes = [{ code: 'no_history', message: 'Earlier days are missing' }];
    reports.totals = async () => ({ ...totals, complete: false, notes });
    const view = await readView(query, { reports, budgets: noBudgets, now, signal, partsMs: 1000 });
    expect(view.notes).toEqual([{ code: 'no_history', message: 'Ever: Earlier days are missing' }]);
    expect(renderPage(view, now).body).toContain('This is not all');
  });

  it('has the requests and tokens of users from single requests where the summary has money alone', async () => {
    const reports = createFactReports(
      [
        ...facts,
        { day: '2026-11-03', usd: '2', team: 't2', user: 'u', input: 7 },
        { day: '2026-11-03', usd: '9', user: 'v' },
      ],
      () => now,
    );
    const read = reports.read;
    reports.read = async (asked, context) => {
      const report = await read(asked, context);
      if (asked.groupBy.join() !== 'user') return report;
      const groups = report.groups.map((group) => ({ ...group, requests: null, tokens: null }));
      return { ...report, groups, requests: null, tokens: null };
    };
    const view = async () => {
      const { tables } = await readView(query, { reports, budgets: noBudgets, now, signal, partsMs: 1000 });
      return (tables.user as SpendReport).groups.map(({ by, spend, tokens }) => [
        by.user?.id,
        formatUsd(spend),
        tokens?.input,
      ]);
    };
    expect(await view()).toEqual([
      ['v', '9', 0],
      ['u', '3', 7],
    ]);
    reports.unsupported.add('team');
    expect(await view()).toEqual([
      ['v', '9', undefined],
      ['u', '3', undefined],
    ]);
  });

  it('is by day alone where models cannot be told with days', async () => {
    const reports = createFactReports(facts, () => now);
    reports.unsupported.add('model');
    const { chart } = await readView(query, { reports, budgets: noBudgets, now, signal, partsMs: 1000 });
    expect([chart.groupBy, chart.spend]).toEqual([['day'], parseUsd(1)]);
  });

  it('fails when its essential part does, or when the caller is gone', async () => {
    const reports = createFactReports(facts, () => now);
    reports.failure = new UpstreamError('LiteLLM', 'network', 'x');
    const options = { reports, budgets: noBudgets, now, signal, partsMs: 1000 };
    await expect(readView(query, options)).rejects.toBe(reports.failure);
    await expect(readView(query, { ...options, signal: AbortSignal.abort() })).rejects.toThrow();
  });
});

describe('a link', () => {
  it('is a query alone, and what it says is what was asked', () => {
    const { query } = parseQuery(
      { start_date: '2026-01-01', end_date: '2026-02-01', timezone: 'Europe/Berlin', user_id: 'a&b=c', team_id: '<t>' },
      now,
    );
    const link = toLink(query);
    expect(link).toMatch(/^\?start_date=2026-01-01&end_date=2026-02-01&/);
    expect(parseQuery(Object.fromEntries(new URLSearchParams(link)), now).query).toEqual(query);
    expect(withoutFilter(query.filters, 'user')).toEqual({ team: '<t>' });
    expect(hiddenFields(query)).toEqual([
      ['timezone', 'Europe/Berlin'],
      ['user_id', 'a&b=c'],
      ['team_id', '<t>'],
    ]);
  });

  it.each([
    ['2026-11-21', '2026-10-01', '2026-10-31', '2025-12-01'],
    ['2026-01-01', '2025-12-01', '2025-12-31', '2025-02-01'],
    ['2028-03-31', '2028-02-01', '2028-02-29', '2027-04-01'],
  ])('of the picker on %s knows the last month and the last twelve', (today, from, to, yearStart) => {
    const presets = Object.fromEntries(
      toPresets(today).map(({ name, startDate, endDate }) => [name, [startDate, endDate]]),
    );
    expect(presets['Last month']).toEqual([from, to]);
    expect(presets['12 months']).toEqual([yearStart, today]);
    expect(presets.Today).toEqual([today, today]);
  });
});

describe('numbers for people', () => {
  it.each([
    ['0', '$0'],
    ['0.00000001', '<$0.0001'],
    ['0.0123', '$0.0123'],
    ['0.5', '$0.50'],
    ['1234.567', '$1,234.57'],
    ['-12.5', '−$12.50'],
  ])('%s is %s', (usd, text) => expect(dollars(parseUsd(usd))).toBe(text));

  it('are short where they may be, and never a 0 for what is not known', () => {
    expect([compact(null), compact(999), compact(9_999), compact(12_345), compact(4_560_000)]).toEqual([
      '–',
      '999',
      '9,999',
      '12.3K',
      '4.56M',
    ]);
    expect([shortDay('2026-09-05'), longMonth('2026-09')]).toEqual(['5 Sep', 'September 2026']);
    expect(dayRange('2025-12-30', '2026-01-02')).toBe('30 Dec 2025 – 2 Jan 2026');
  });
});
