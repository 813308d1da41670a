import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { endOfPeriod, isClosed, startOfPeriod } from '../../../../functions/lago-usage-push/billing/period.ts';
import { dueAt, findDueDays } from '../../../../functions/lago-usage-push/schedule/rollup.ts';

const at = Date.parse;
const dayMs = 86_400_000;

test.each([
  ['2026-11-20T10:00:00Z', 'month', '2026-11-01', '2026-12-01'],
  ['2026-12-31T23:59:59.999Z', 'month', '2026-12-01', '2027-01-01'],
  ['2028-02-29T00:00:00Z', 'month', '2028-02-01', '2028-03-01'],
  // 2026-11-16 is a Monday.
  ['2026-11-16T00:00:00Z', 'week', '2026-11-16', '2026-11-23'],
  ['2026-11-22T23:59:59.999Z', 'week', '2026-11-16', '2026-11-23'],
] as const)('%s lies in the %s from %s to %s', (moment, period, start, end) => {
  expect(startOfPeriod(at(moment), period)).toBe(at(start));
  expect(endOfPeriod(at(moment), period)).toBe(at(end));
});

test('every moment lies in its period, and the next one begins where it ends', () => {
  const times = fc.integer({ min: 0, max: at('2100-01-01') });
  fc.assert(
    fc.property(times, fc.constantFrom('month' as const, 'week' as const), (time, period) => {
      const [start, end] = [startOfPeriod(time, period), endOfPeriod(time, period)];
      expect(start <= time && time < end).toBe(true);
      expect(startOfPeriod(end, period)).toBe(end);
      expect(new Date(start).toISOString().slice(10)).toBe('T00:00:00.000Z');
    }),
  );
});

test.each([
  ['2026-12-01T00:05:00Z', false],
  ['2026-12-01T00:09:29.999Z', false],
  ['2026-12-01T00:09:30Z', true],
  ['2026-12-01T00:10:00Z', true],
])('the last millisecond of November, sent at %s, is too late: %s', (now, isLate) => {
  const last = at('2026-11-30T23:59:59.999Z');
  expect(isClosed(last, at(now), 'month')).toBe(isLate);
  expect(isClosed(last, at(now), 'none')).toBe(false);
});

describe('the roll-up', () => {
  const options = { period: 'month', delayMs: 3 * 3_600_000, lagMs: 120_000 } as const;

  test("sends a day three hours after its end, and a month's last day two minutes after", () => {
    expect(dueAt(at('2026-11-29'), options)).toBe(at('2026-11-30T03:00:00Z'));
    expect(dueAt(at('2026-11-30'), options)).toBe(at('2026-12-01T00:02:00Z'));
  });

  test.each(Array.from({ length: 12 }, (_, month) => month))(
    'has the last day of month %i sent by a tick at five past, before Lago closes it at ten past',
    (month) => {
      const lastDay = Date.UTC(2026, month + 1, 0);
      const tick = lastDay + dayMs + 5 * 60_000;
      const days = findDueDays(Date.UTC(2026, month, 1), tick, options);
      expect(days.at(-1)).toBe(lastDay);
      expect(days).toHaveLength(new Date(lastDay).getUTCDate());
      expect(isClosed(lastDay, tick, 'month')).toBe(false);
      // The day before it would not be due yet by its own delay alone, and is not left behind either.
      expect(days.at(-2)).toBe(lastDay - dayMs);
    },
  );
});
