import fc from 'fast-check';
import { expect, test } from 'vitest';
import { findWindow, sliceByDay } from '../../../functions/lago-usage-push/window.ts';

const at = Date.parse;
const minute = 60_000;
const base = {
  now: at('2026-11-20T12:00:00Z'),
  billFrom: at('2026-11-01T00:00:00Z'),
  overlapMs: 60 * minute,
  lagMs: 2 * minute,
};

test('begins at BILL_FROM without a mark and stays behind the clock', () => {
  expect(findWindow(base)).toEqual({ from: base.billFrom, to: at('2026-11-20T11:58:00Z') });
});

test('looks back from the mark by the overlap, and never before BILL_FROM', () => {
  expect(findWindow({ ...base, mark: at('2026-11-20T11:00:00Z') }).from).toBe(at('2026-11-20T10:00:00Z'));
  expect(findWindow({ ...base, mark: at('2026-11-01T00:30:00Z') }).from).toBe(base.billFrom);
});

test('is empty while BILL_FROM lies in the future', () => {
  expect([...sliceByDay(findWindow({ ...base, billFrom: base.now + 1 }))]).toEqual([]);
});

test('cuts at UTC midnights without a gap and without an overlap', () => {
  expect([...sliceByDay({ from: at('2026-02-28T23:00:00Z'), to: at('2026-03-02T01:00:00Z') })]).toEqual([
    { from: at('2026-02-28T23:00:00Z'), to: at('2026-03-01T00:00:00Z') },
    { from: at('2026-03-01T00:00:00Z'), to: at('2026-03-02T00:00:00Z') },
    { from: at('2026-03-02T00:00:00Z'), to: at('2026-03-02T01:00:00Z') },
  ]);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2e12 }), fc.integer({ min: 1, max: 1e10 }), (from, length) => {
      const slices = [...sliceByDay({ from, to: from + length })];
      expect(slices[0]?.from).toBe(from);
      expect(slices.at(-1)?.to).toBe(from + length);
      slices.forEach((slice, index) => {
        expect(slice.from).toBeLessThan(slice.to);
        if (index > 0) expect(slice.from).toBe(slices[index - 1]?.to);
      });
    }),
  );
});
