import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadSettings } from '#shared/config/settings.ts';
import { parseUsd } from '#shared/money.ts';
import { type Budget, parseBudgets } from '../../../functions/llm-global-spend/budgets/budget.ts';
import { previousPeriod, toPeriod } from '../../../functions/llm-global-spend/budgets/period.ts';
import { forecastSpend, isForecastOver, toState } from '../../../functions/llm-global-spend/budgets/state.ts';
import { settings } from '../../../functions/llm-global-spend/config.ts';

const parse = (value: unknown) => parseBudgets(JSON.stringify(value));
const problemsOf = (value: unknown) => (parse(value) as { problems: string[] }).problems;
const month = { scope: 'proxy', period: 'month', limit_usd: 500 };

describe('SPEND_BUDGETS', () => {
  it('is a list of limits with thresholds, a forecast and a name by default', () => {
    expect(parse([month, { scope: 'team', id: 'research', period: 'week', limit_usd: '0.25' }])).toEqual({
      budgets: [
        {
          name: 'everything per month',
          scope: 'proxy',
          id: '',
          period: 'month',
          limit: parseUsd(500),
          thresholds: [50, 80, 100],
          forecast: true,
        },
        {
          name: 'team research per week',
          scope: 'team',
          id: 'research',
          period: 'week',
          limit: parseUsd('0.25'),
          thresholds: [50, 80, 100],
          forecast: true,
        },
      ],
    });
  });

  it('sorts thresholds and takes each once', () => {
    expect(parse([{ ...month, thresholds: [100, 50, 100] }])).toMatchObject({ budgets: [{ thresholds: [50, 100] }] });
  });

  it.each<[string, unknown, string]>([
    ['no list', {}, 'must be a list of budgets'],
    [
      'an unknown scope',
      [{ ...month, scope: 'planet' }],
      'budget 1, scope: must be one of proxy, team, user, key, end_user',
    ],
    ['an unknown period', [month, { ...month, period: 'year' }], 'budget 2, period: must be one of day, week, month'],
    [
      'a limit of nothing',
      [{ ...month, limit_usd: 0 }],
      'budget 1, limit_usd: must be an amount of US dollars above 0, such as 500 or "0.25"',
    ],
    [
      'a limit in words',
      [{ ...month, limit_usd: 'much' }],
      'budget 1, limit_usd: must be an amount of US dollars above 0, such as 500 or "0.25"',
    ],
    ['a field that is misspelt', [{ ...month, treshold: [5] }], 'budget 1: has no field "treshold"'],
    ['a team without its id', [{ ...month, scope: 'team' }], 'budget 1, id: must say which team'],
    ['a proxy with an id', [{ ...month, id: 'x' }], 'budget 1, id: is not for the scope proxy, which is everybody'],
    [
      'a key as it is',
      [{ ...month, scope: 'key', id: 'sk-secret-1' }],
      'budget 1, id: must be the hash or the alias of a key, never the key itself',
    ],
    ['a threshold of 0', [{ ...month, thresholds: [0] }], 'budget 1, thresholds: must be 1 or more'],
    ['the same budget twice', [month, { ...month, name: 'again' }], 'budget 2: is the same as an earlier one'],
    ['the same name twice', [month, { ...month, limit_usd: 1 }], 'budget 2, name: another budget has it'],
  ])('refuses %s, says where, and shows no value', (_, value, problem) => {
    expect(problemsOf(value)).toEqual([problem]);
    expect(problemsOf(value).join()).not.toMatch(/planet|year|much|sk-secret/);
  });

  it('is checked when the function starts', () => {
    const start = (text: string) =>
      loadSettings(settings, { LITELLM_API_BASE_URL: 'http://l', LITELLM_API_KEY: 'k', SPEND_BUDGETS: text });
    expect(start('').SPEND_BUDGETS).toEqual([]);
    expect(() => start('[{')).toThrow('SPEND_BUDGETS: must be JSON: a list of budgets');
    expect(() => start('[{"scope":"team"}]')).toThrow(/SPEND_BUDGETS: budget 1, period: must be one of/);
  });
});

describe('a period', () => {
  it.each([
    ['day', '2026-11-21T23:59:59.999Z', '2026-11-21', '2026-11-21'],
    ['week', '2026-11-16T00:00:00Z', '2026-11-16', '2026-11-22'],
    ['week', '2026-11-22T23:59:59Z', '2026-11-16', '2026-11-22'],
    ['week', '2027-01-01T00:00:00Z', '2026-12-28', '2027-01-03'],
    ['month', '2028-02-29T12:00:00Z', '2028-02-01', '2028-02-29'],
    ['month', '2026-12-31T23:59:59Z', '2026-12-01', '2026-12-31'],
  ] as const)('of one %s around %s runs from %s to %s, both inclusive', (kind, moment, startDate, endDate) => {
    expect(toPeriod(kind, new Date(moment))).toMatchObject({ kind, startDate, endDate });
  });

  it('ends where the next one begins, whatever the moment', () => {
    const moments = fc.date({ min: new Date('2020-01-01'), max: new Date('2090-01-01'), noInvalidDate: true });
    fc.assert(
      fc.property(fc.constantFrom('day', 'week', 'month'), moments, (kind, moment) => {
        const period = toPeriod(kind, moment);
        expect(period.startMs).toBeLessThanOrEqual(moment.getTime());
        expect(period.endMs).toBeGreaterThan(moment.getTime());
        expect(previousPeriod(period).endMs).toBe(period.startMs);
      }),
    );
  });
});

const budget = (parse([{ ...month, limit_usd: 100 }]) as { budgets: Budget[] }).budgets[0]!;
const november = toPeriod('month', new Date('2026-11-10T00:00:00Z'));
const stateAt = (usd: string, moment: string) =>
  toState(budget, november, { spend: parseUsd(usd), label: '', complete: true, notes: [] }, Date.parse(moment));

describe('the forecast', () => {
  it('stretches what was spent over the whole period', () => {
    expect(stateAt('30', '2026-11-11T00:00:00Z').forecast).toBe(parseUsd('90'));
    expect(isForecastOver(stateAt('30', '2026-11-11T00:00:00Z'))).toBe(false);
    expect(isForecastOver(stateAt('40', '2026-11-11T00:00:00Z'))).toBe(true);
  });

  it('says nothing in the first tenth of a period, and the spend itself when it is over', () => {
    expect(stateAt('99', '2026-11-03T23:59:59Z').forecast).toBeNull();
    expect(stateAt('99', '2026-11-04T00:00:00Z').forecast).toBe(parseUsd('990'));
    expect(stateAt('99', '2026-12-01T00:00:00Z').forecast).toBe(parseUsd('99'));
  });

  it('is no news once the limit is passed', () => {
    expect(isForecastOver(stateAt('100', '2026-11-11T00:00:00Z'))).toBe(false);
  });

  it('is never below what was spent', () => {
    const days = fc.integer({ min: november.startMs, max: november.endMs + 1e9 });
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 18n }), days, (spend, nowMs) => {
        expect((forecastSpend(spend, november, nowMs) ?? spend) >= spend).toBe(true);
      }),
    );
  });
});

describe('a state', () => {
  it.each([
    ['49.999999999999', 'ok', []],
    ['50', 'warning', [50]],
    ['99.999999999999', 'warning', [50, 80]],
    ['100', 'over', [50, 80, 100]],
  ])('of %s of 100 dollars is %s and has reached %j, to the last digit', (usd, level, reached) => {
    expect(stateAt(usd, '2026-11-11T00:00:00Z')).toMatchObject({ level, reached });
  });
});
