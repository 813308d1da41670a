import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { divideHalfEven, formatUsd, parseUsd, usdToNumber } from '#shared/money.ts';

const pico = fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n });

describe('parseUsd', () => {
  it.each<[number | string, bigint]>([
    [0, 0n],
    [1, 1_000_000_000_000n],
    [0.1, 100_000_000_000n],
    [1.5e-7, 150_000n],
    [0.000000075, 75_000n],
    ['7.5e-08', 75_000n],
    ['-2.50', -2_500_000_000_000n],
    ['.5', 500_000_000_000n],
    ['1E3', 1_000_000_000_000_000n],
    [' 0.00133 ', 1_330_000_000n],
    [622.5803327750004, 622_580_332_775_000n],
  ])('reads %j', (value, expected) => {
    expect(parseUsd(value)).toBe(expected);
  });

  it('rounds what is finer than a pico-dollar to the even neighbour', () => {
    expect(['0.0000000000005', '0.0000000000015', '0.0000000000025', '-0.0000000000015'].map(parseUsd)).toEqual([
      0n,
      2n,
      2n,
      -2n,
    ]);
  });

  it.each(['', '.', '-', 'NaN', 'Infinity', '1,5', '0x10', '1e', '1e9999', 'abc', '1 2'])('refuses %j', (text) => {
    expect(() => parseUsd(text)).toThrow(RangeError);
  });

  it('refuses numbers that are none', () => {
    expect(() => parseUsd(Number.NaN)).toThrow(RangeError);
    expect(() => parseUsd(Number.POSITIVE_INFINITY)).toThrow(RangeError);
  });
});

describe('sums', () => {
  it('are exact where floats drift', () => {
    expect(0.1 + 0.2).not.toBe(0.3);
    expect(usdToNumber(parseUsd(0.1) + parseUsd(0.2))).toBe(0.3);
  });

  it('of any amounts on the pico grid come back to the last digit, in any order', () => {
    // A double keeps any 15 digits: every pico-dollar of an amount below 1,000 dollars.
    const amounts = fc.array(fc.bigInt({ min: 0n, max: 999_999_999_999_999n }), { maxLength: 200 });
    fc.assert(
      fc.property(amounts, (wanted) => {
        const wire = wanted.map((amount) => JSON.parse(JSON.stringify(usdToNumber(amount))) as number);
        const exact = wanted.reduce((sum, amount) => sum + amount, 0n);
        expect(wire.reduce((sum, amount) => sum + parseUsd(amount), 0n)).toBe(exact);
        expect(wire.toReversed().reduce((sum, amount) => sum + parseUsd(amount), 0n)).toBe(exact);
      }),
    );
  });
});

describe('formatUsd', () => {
  it.each<[bigint, string]>([
    [0n, '0'],
    [1n, '0.000000000001'],
    [-1_330_000_000n, '-0.00133'],
    [2_000_000_000_000n, '2'],
    [12_340_000_000_000n, '12.34'],
  ])('writes %s as %s', (amount, text) => {
    expect(formatUsd(amount)).toBe(text);
  });

  it('never writes an exponent, and is read back as the same amount', () => {
    fc.assert(
      fc.property(pico, (amount) => {
        const text = formatUsd(amount);
        expect(text).toMatch(/^-?\d+(\.\d*[1-9])?$/);
        expect(parseUsd(text)).toBe(amount);
      }),
    );
  });
});

describe('divideHalfEven', () => {
  it('is off by half of the divisor at most, and ties go to the even one', () => {
    fc.assert(
      fc.property(pico, fc.bigInt({ min: 1n, max: 10n ** 12n }), (dividend, divisor) => {
        const quotient = divideHalfEven(dividend, divisor);
        const rest = dividend - quotient * divisor;
        const twice = rest < 0n ? -2n * rest : 2n * rest;
        expect(twice <= divisor).toBe(true);
        if (twice === divisor) expect(quotient % 2n).toBe(0n);
      }),
    );
  });
});
