import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addDays,
  createDayOf,
  daysOf,
  halve,
  hasOffset,
  isDay,
  nextDay,
  startOfDay,
  toDay,
  toDayIn,
  toWindows,
} from '../../../functions/llm-global-spend/days.ts';

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

describe('windows', () => {
  const through = (start: string, last: string) => [...daysOf({ start, end: nextDay(last) })];

  it('of a month at most end with the month, a year and a leap day', () => {
    expect(toWindows(through('2025-12-15', '2026-02-01'), 31)).toEqual([
      { start: '2025-12-15', end: '2026-01-01' },
      { start: '2026-01-01', end: '2026-02-01' },
      { start: '2026-02-01', end: '2026-02-02' },
    ]);
    expect(toWindows(through('2028-02-01', '2028-03-01'), 31)).toHaveLength(2);
  });

  it('of a year at most hold a year in one', () => {
    expect(toWindows(through('2025-11-22', '2026-11-21'), 366)).toEqual([{ start: '2025-11-22', end: '2026-11-22' }]);
  });

  it('cover the given days once, in order, and no other', () => {
    const days = fc.uniqueArray(fc.integer({ min: 0, max: 120 }).map((count) => addDays('2027-12-01', count)));
    fc.assert(
      fc.property(days, fc.constantFrom(1, 7, 31, 366, Number.POSITIVE_INFINITY), (found, maxDays) => {
        const windows = toWindows(found.toSorted(), maxDays);
        expect(windows.flatMap((window) => [...daysOf(window)])).toEqual(found.toSorted());
        for (const window of windows) expect([...daysOf(window)].length).toBeLessThanOrEqual(maxDays);
      }),
    );
  });

  it('are halved without a gap', () => {
    fc.assert(
      fc.property(day, fc.integer({ min: 2, max: 400 }), (start, length) => {
        const whole = { start, end: addDays(start, length) };
        const [left, right] = halve(whole);
        expect([left.start, left.end, right.end]).toEqual([start, right.start, whole.end]);
        expect(left.start < left.end && right.start < right.end).toBe(true);
      }),
    );
  });
});

describe('days of a zone', () => {
  it.each([
    ['2026-11-20T23:30:00Z', 'Europe/Berlin', '2026-11-21'],
    ['2026-11-21T04:59:00Z', 'America/New_York', '2026-11-20'],
    ['2026-11-20T22:00:00Z', '+02:00', '2026-11-21'],
    ['2026-11-20T18:15:00Z', 'Asia/Kathmandu', '2026-11-21'],
  ])('put %s of %s into %s', (moment, zone, expected) => {
    expect(toDayIn(new Date(moment), zone)).toBe(expected);
    expect(createDayOf(zone)(new Date(moment))).toBe(expected);
  });

  it('begin where the day of their first moment begins, in months with and without summer time', () => {
    const zones = fc.constantFrom(
      'Europe/Berlin',
      'America/New_York',
      'Australia/Lord_Howe',
      'Asia/Kathmandu',
      '-03:30',
    );
    fc.assert(
      fc.property(day, zones, (some, zone) => {
        const start = startOfDay(some, zone);
        expect(toDayIn(start, zone)).toBe(some);
        expect(toDayIn(new Date(start.getTime() - 1), zone)).toBe(addDays(some, -1));
      }),
    );
  });

  it("are the proxy's days only where every one of them begins with them", () => {
    expect(hasOffset({ start: '2026-11-01', end: '2026-12-01' }, 'Europe/London', 0)).toBe(true);
    expect(hasOffset({ start: '2026-10-01', end: '2026-12-01' }, 'Europe/London', 0)).toBe(false);
    expect(hasOffset({ start: '2026-11-01', end: '2026-12-01' }, 'Europe/Berlin', 60)).toBe(true);
    expect(hasOffset({ start: '2026-11-01', end: '2026-12-01' }, 'UTC', 60)).toBe(false);
  });
});
