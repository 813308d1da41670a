import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isDay, nextDay, toDay, toMonthWindows } from '../../../functions/llm-global-spend/days.ts';
import { sumTotals } from '../../../functions/llm-global-spend/totals.ts';

const day = fc
  .date({ min: new Date('2020-01-01T00:00:00Z'), max: new Date('2099-12-31T23:59:59Z'), noInvalidDate: true })
  .map(toDay);

describe('days', () => {
  it.each([
    ['2026-11-30', '2026-12-01'],
    ['2026-12-31', '2027-01-01'],
    ['2028-02-28', '2028-02-29'],
    ['2028-02-29', '2028-03-01'],
    ['2027-02-28', '2027-03-01'],
  ])('after %s comes %s', (before, after) => {
    expect(nextDay(before)).toBe(after);
  });

  it('knows days that do not exist', () => {
    expect(['2028-02-29', '2026-01-31'].every(isDay)).toBe(true);
    expect(['2027-02-29', '2026-04-31', '2026-1-1', '2026-13-01', 'today', ''].some(isDay)).toBe(false);
  });

  it('takes the UTC day of a moment, whatever the local one is', () => {
    expect(toDay(new Date('2026-12-31T23:59:59.999Z'))).toBe('2026-12-31');
    expect(toDay(new Date('2026-12-31T23:30:00-02:00'))).toBe('2027-01-01');
  });
});

describe('month windows', () => {
  it('end with today, on the first of a month too', () => {
    expect(toMonthWindows('2025-12-15', '2026-02-01')).toEqual([
      { start: '2025-12-01', end: '2026-01-01' },
      { start: '2026-01-01', end: '2026-02-01' },
      { start: '2026-02-01', end: '2026-02-02' },
    ]);
  });

  it('hold the last day of a year and a leap day', () => {
    expect(toMonthWindows('2026-12-01', '2026-12-31')).toEqual([{ start: '2026-12-01', end: '2027-01-01' }]);
    expect(toMonthWindows('2028-02-01', '2028-02-29')).toEqual([{ start: '2028-02-01', end: '2028-03-01' }]);
  });

  it('hold this month, though the epoch lies ahead', () => {
    expect(toMonthWindows('2030-01-01', '2026-11-21')).toEqual([{ start: '2026-11-01', end: '2026-11-22' }]);
  });

  it('cover every day once, from the month of the epoch to today', () => {
    fc.assert(
      fc.property(day, day, (one, other) => {
        const [epoch, today] = [one, other].sort() as [string, string];
        const windows = toMonthWindows(epoch, today);
        expect(windows[0]!.start <= epoch).toBe(true);
        expect(windows.at(-1)!.end).toBe(nextDay(today));
        expect(windows.at(-1)!.start).toBe(`${today.slice(0, 7)}-01`);
        windows.slice(1).forEach((window, index) => {
          expect(window.start).toBe(windows[index]!.end);
        });
      }),
    );
  });
});

describe('sums', () => {
  it('split by today, its month and all', () => {
    const days = [
      { day: '2026-10-31', spend: 1n },
      { day: '2026-11-01', spend: 10n },
      { day: '2026-11-21', spend: 100n },
      { day: '2026-11-22', spend: 1_000n },
    ];
    expect(sumTotals(days, '2026-11-21')).toEqual({ global: 111n, currentMonth: 110n, today: 100n });
    expect(sumTotals(days, '2026-11-01')).toEqual({ global: 11n, currentMonth: 10n, today: 10n });
    expect(sumTotals([], '2026-11-21')).toEqual({ global: 0n, currentMonth: 0n, today: 0n });
  });

  it('do not depend on the order, and part into today, the rest of the month and before', () => {
    const entry = fc.record({ day, spend: fc.bigInt({ min: 0n, max: 10n ** 18n }) });
    fc.assert(
      fc.property(fc.array(entry), day, (days, today) => {
        const totals = sumTotals(days, today);
        expect(sumTotals(days.toReversed(), today)).toEqual(totals);
        const until = days.filter((item) => item.day <= today);
        const of = (items: typeof days) => items.reduce((sum, item) => sum + item.spend, 0n);
        expect(totals.global).toBe(of(until));
        expect(totals.global - totals.currentMonth).toBe(
          of(until.filter((item) => item.day.slice(0, 7) < today.slice(0, 7))),
        );
        expect(totals.today).toBe(of(until.filter((item) => item.day === today)));
      }),
    );
  });
});
