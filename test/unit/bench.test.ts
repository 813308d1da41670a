import { describe, expect, it } from 'vitest';
import { atLeast, atMost, inTurns, median, ratioOf, sideBySide } from '../../tools/bench/harness.ts';

describe('the bench harness', () => {
  it('takes the middle of an odd count and the mean of the two middles of an even one', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 3, 2])).toBe(2.5);
  });

  it('runs the contenders in turn, leaves the first round out and gives ratios against the first', async () => {
    const order: string[] = [];
    const contender = (name: string, values: number[]) => ({
      name,
      measure: async () => {
        order.push(name);
        return values.shift()!;
      },
    });
    const rows = await sideBySide([contender('a', [100, 10, 10]), contender('b', [1, 20, 30])], {
      rounds: 2,
      unit: 'ms',
    });
    expect(order).toEqual(['a', 'b', 'a', 'b', 'a', 'b']);
    expect(rows.map(({ median: middle, ratio }) => [middle, ratio])).toEqual([
      [10, 1],
      [25, 2.5],
    ]);
  });

  it('misses a target above its limit and meets one at it', () => {
    expect(atMost('x', 1.31, 1.3).ok).toBe(false);
    expect(atMost('x', 1.3, 1.3).ok).toBe(true);
  });

  it('keeps every metric of every round, and takes ratios within a round so that noise hits both', async () => {
    const rounds = { a: [{ rps: 1 }, { rps: 100 }, { rps: 10 }], b: [{ rps: 9 }, { rps: 50 }, { rps: 5 }] };
    const samples = await inTurns([{ name: 'a' as const }, { name: 'b' as const }], 2, async ({ name }, round) => {
      return rounds[name][round]!;
    });
    expect(samples.get('a')).toEqual({ rps: [100, 10] });
    expect(ratioOf(samples, 'rps', 'b', 'a')).toBe(0.5);
  });

  it('misses a target below its least', () => {
    expect([atLeast('x', 0.74, 0.75).ok, atLeast('x', 0.75, 0.75).ok]).toEqual([false, true]);
  });
});
