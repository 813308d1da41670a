import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { divideHalfEven, parseUsd } from '#shared/money.ts';
import {
  findRate,
  type MoneyRules,
  minorUnitOf,
  parseDecimal,
  toAmount,
} from '../../../../functions/lago-usage-push/billing/money.ts';
import { parseMapping, parseRates } from '../../../../functions/lago-usage-push/tables.ts';

const one = { digits: 1n, scale: 0 };
const usd: MoneyRules = { currency: 'USD', rates: [], markup: one };
const at = Date.parse('2026-11-20T00:00:00Z');
const inCurrency = (currency: string, rate: string): MoneyRules => ({
  currency,
  rates: parseRates(JSON.stringify({ '2026-01-01': rate })),
  markup: one,
});

describe('an amount', () => {
  test('in US dollars is the cost to the last picodollar, and its cents exactly a hundred of it', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 18n }), (spend) => {
        const found = toAmount(spend, at, usd);
        expect(parseUsd(found?.amount ?? '')).toBe(spend);
        expect(found?.minorUnits).toMatch(/^\d+(\.\d+)?$/);
        expect(parseUsd(found?.minorUnits ?? '')).toBe(spend * 100n);
      }),
    );
  });

  test('carries markup and rate exactly, rounded half-even at the fifteenth decimal and nowhere before', () => {
    const decimal = fc.tuple(fc.bigInt({ min: 1n, max: 10n ** 12n }), fc.nat(9));
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 15n }), decimal, decimal, (spend, [m, mScale], [r, rScale]) => {
        const rules: MoneyRules = {
          currency: 'EUR',
          rates: [{ from: 0, text: '', rate: { digits: r, scale: rScale } }],
          markup: { digits: m, scale: mScale },
        };
        const scale = 12 + mScale + rScale;
        const exact = spend * m * r;
        const expected =
          scale > 15 ? divideHalfEven(exact, 10n ** BigInt(scale - 15)) : exact * 10n ** BigInt(15 - scale);
        const [whole = '', fraction = ''] = (toAmount(spend, at, rules)?.amount ?? '').split('.');
        expect(BigInt(whole + fraction.padEnd(15, '0'))).toBe(expected);
      }),
    );
  });

  test.each([
    ['KRW', '1390', '0.00133', '1.8487', '1.8487'],
    ['JPY', '150.5', '2', '301', '301'],
    ['EUR', '0.92', '0.00133', '0.0012236', '0.12236'],
    ['KWD', '0.3', '1', '0.3', '300'],
  ])('in %s at %s: %s USD is %s, which is %s of its smallest unit', (currency, rate, cost, amount, minorUnits) => {
    expect(toAmount(parseUsd(cost), at, inCurrency(currency, rate))).toEqual({ amount, minorUnits, rate });
  });

  test('is unknown before the first rate, and takes the rate of its own day after', () => {
    const rates = parseRates('{"2026-07-01":"0.95","2026-01-01":"0.92"}');
    const rules = { currency: 'EUR', rates, markup: one };
    const on = (day: string) => toAmount(parseUsd('1'), Date.parse(day), rules)?.amount;
    expect(on('2025-12-31T23:59:59.999Z')).toBeUndefined();
    expect(on('2026-01-01T00:00:00Z')).toBe('0.92');
    expect(on('2026-06-30T23:59:59.999Z')).toBe('0.92');
    expect(on('2026-07-01T00:00:00Z')).toBe('0.95');
    expect(findRate(rates, Date.parse('2027-01-01'))?.text).toBe('0.95');
  });
});

test.each([
  ['KRW', 0],
  ['JPY', 0],
  ['USD', 2],
  ['BHD', 3],
])('%s has %i decimals', (currency, decimals) => {
  expect(minorUnitOf(currency)).toBe(decimals);
});

test.each(['', '1e3', '-1', '+1', '.5', '1.', '1,5', ' 1', '1 '])('%j is no plain decimal', (text) => {
  expect(parseDecimal(text)).toBeUndefined();
});

describe('tables', () => {
  test.each(['x', '[]', '{"2026-01-01":0.9}', '{"2026-13-01":"0.9"}', '{"2026-01-01":"0"}', '{"2026-01-01":"-1"}'])(
    'of rates refuse %s',
    (text) => {
      expect(() => parseRates(text)).toThrow(/must be/);
    },
  );

  test.each(['x', '[]', '{"a":1}', '{"a":""}', '{"a":" "}', '{"a":"b/c"}'])(
    'of payers refuse %s and show no id',
    (text) => {
      expect(() => parseMapping(text)).toThrow(/^(?!.*"a")/);
    },
  );

  test('of payers know no names but their own', () => {
    const map = parseMapping('{" team-a ": " sub_a "}');
    expect([...map]).toEqual([['team-a', 'sub_a']]);
    expect(map.get('constructor')).toBeUndefined();
  });
});
