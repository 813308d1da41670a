import { expect, test } from 'vitest';
import { chunk, findWindow } from '../../../functions/lago-usage-push/schedule/window.ts';

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
  const { from, to } = findWindow({ ...base, billFrom: base.now + 1 });
  expect(to).toBe(from);
});

test('groups what comes without losing or repeating anything, the last group as it is', async () => {
  const come = async function* (count: number) {
    for (let item = 0; item < count; item++) yield item;
  };
  for (const count of [0, 1, 9, 10, 11, 25]) {
    const groups: number[][] = [];
    for await (const group of chunk(come(count), 10)) groups.push(group);
    expect(groups.flat()).toEqual(Array.from({ length: count }, (_, item) => item));
    expect(groups.map(({ length }) => length)).toEqual(groups.map((_, at) => Math.min(10, count - at * 10)));
  }
});
