import { describe, expect, it } from 'vitest';
import { parseRetryAfterMs, type RetryOptions, retry, sleep } from '#shared/retry.ts';

/** An operation that fails as often as told, and the waits that were taken. */
function flaky(failures: number, options: Partial<RetryOptions> = {}) {
  const waits: number[] = [];
  let calls = 0;
  const result = retry(
    async (attempt) => {
      calls++;
      if (attempt <= failures) throw new Error(`failure ${attempt}`);
      return attempt;
    },
    { attempts: 3, shouldRetry: () => true, sleep: async (ms) => void waits.push(ms), random: () => 1, ...options },
  );
  return { result, waits, calls: () => calls };
}

describe('retry', () => {
  it('waits for nothing when the first attempt succeeds', async () => {
    const { result, waits } = flaky(0);
    expect(await result).toBe(1);
    expect(waits).toEqual([]);
  });

  it('doubles the bound of its waits', async () => {
    const { result, waits } = flaky(4, { attempts: 5, baseMs: 100, maxWaitMs: 500 });
    expect(await result).toBe(5);
    expect(waits).toEqual([100, 200, 400, 500]);
  });

  it('waits anything from nothing to the bound', async () => {
    const { result, waits } = flaky(2, { random: () => 0.25, baseMs: 100 });
    await result;
    expect(waits).toEqual([25, 50]);
  });

  it('throws the last failure when the attempts are used up', async () => {
    const { result, calls } = flaky(9);
    await expect(result).rejects.toThrow('failure 3');
    expect(calls()).toBe(3);
  });

  it('throws at once what is not worth another attempt', async () => {
    const { result, calls } = flaky(9, { shouldRetry: () => false });
    await expect(result).rejects.toThrow('failure 1');
    expect(calls()).toBe(1);
  });

  it('waits as long as the upstream asks', async () => {
    const { result, waits } = flaky(1, { retryAfterMs: () => 7_000 });
    await result;
    expect(waits).toEqual([7_000]);
  });

  it('gives up when the upstream asks for more than it may wait', async () => {
    const { result, waits } = flaky(1, { retryAfterMs: () => 60_000 });
    await expect(result).rejects.toThrow('failure 1');
    expect(waits).toEqual([]);
  });

  it('does not try again for a caller who is gone', async () => {
    const { result, calls } = flaky(1, { signal: AbortSignal.abort() });
    await expect(result).rejects.toThrow('failure 1');
    expect(calls()).toBe(1);
  });
});

describe('sleep', () => {
  it('ends with the reason of the signal, before or during the wait', async () => {
    await expect(sleep(60_000, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
    const controller = new AbortController();
    const waiting = sleep(60_000, controller.signal);
    controller.abort(new Error('left'));
    await expect(waiting).rejects.toThrow('left');
  });

  it('resolves by itself', async () => {
    await expect(sleep(0)).resolves.toBeUndefined();
  });
});

describe('Retry-After', () => {
  const now = () => Date.parse('2026-11-21T06:00:00Z');

  it.each([
    ['3', 3_000],
    ['0', 0],
    ['1.5', 1_500],
    ['Sat, 21 Nov 2026 06:00:10 GMT', 10_000],
    ['Sat, 21 Nov 2026 05:00:00 GMT', 0],
    ['', undefined],
    ['soon', undefined],
    [undefined, undefined],
  ])('%j is %j ms', (value, expected) => {
    expect(parseRetryAfterMs(value, now)).toBe(expected);
  });
});
