import { describe, expect, it } from 'vitest';
import { HttpError, type UpstreamError } from '#shared/errors.ts';
import { type Answered, createRouter } from '../../../../functions/completion-proxy/vast/router.ts';

const ready =
  '{"endpoint": "e", "url": "http://a:1", "cost": 242.0, "reqnum": 3, "request_idx": 9007199254740993, "signature": "s"}';
const starting = '{"endpoint": "e", "status": "0 of 2 workers ready"}';
const ok = (text: string): Answered => ({ status: 200, text });

/** Asks once; the autoscaler gives its answers in turn, the last one stays. Sleeping passes the time. */
async function ask(answers: (Answered | Error)[], waitMs: number, random = 1) {
  const waits: number[] = [];
  const posted: string[] = [];
  let clock = 0;
  const router = createRouter({
    target: {
      endpoint: 'größe/"e"',
      apiKey: { name: 'vast-api-key', read: () => 'the-key-of-it' },
      accountKey: undefined,
      consoleUrl: '',
      defaultCost: 100,
      waitMs,
      ca: undefined,
    },
    async post(json, key) {
      expect(key).toBe('the-key-of-it');
      posted.push(json);
      const answer = answers[Math.min(posted.length, answers.length) - 1]!;
      if (answer instanceof Error) throw answer;
      return answer;
    },
    async sleep(ms) {
      waits.push(ms);
      clock += ms;
    },
    random: () => random,
    clock: () => clock,
  });
  const { signal } = new AbortController();
  const result = await router.route({ cost: 242, requestIdx: '7', waitMs, signal }).catch((error: Error) => error);
  return { result, waits, posted };
}

describe('the way to a worker', () => {
  it('is a ticket whose numbers are as they were written', async () => {
    const { result, posted } = await ask([ok(ready)], 0);
    expect(result).toEqual({
      url: 'http://a:1',
      auth: {
        cost: '242.0',
        endpoint: '"e"',
        reqnum: '3',
        request_idx: '9007199254740993',
        signature: '"s"',
        url: '"http://a:1"',
      },
    });
    expect(posted).toEqual(['{"endpoint": "größe/\\"e\\"", "cost": 242, "request_idx": 7}']);
  });

  it('is asked for again after a second, and then at random within ever longer times up to five seconds', async () => {
    const answers = [...Array(5).fill(ok(starting)), ok(ready)] as Answered[];
    expect((await ask(answers, 60_000, 1)).waits).toEqual([1_000, 3_000, 5_000, 5_000, 5_000]);
    expect((await ask(answers, 60_000, 0)).waits).toEqual([1_000, 100, 100, 100, 100]);
  });

  it('ends with 503 and Retry-After at the deadline, after one last look', async () => {
    const { result, waits, posted } = await ask([ok(starting)], 5_500, 1);
    expect(waits).toEqual([1_000, 3_000, 1_500]);
    expect(posted).toHaveLength(4);
    expect((result as UpstreamError).message).toContain('0 of 2 workers ready');
    const { cause } = result as UpstreamError;
    expect(cause).toBeInstanceOf(HttpError);
    expect(cause).toMatchObject({ status: 503, code: 'workers_starting', headers: { 'Retry-After': '15' } });
  });

  it('is asked for three times where the autoscaler fails, and once where it refuses', async () => {
    const down = { status: 502, text: 'bad gateway' };
    const { result, waits, posted } = await ask([down], 60_000);
    expect([waits, posted.length, (result as UpstreamError).status]).toEqual([[500, 1_000], 3, 502]);
    expect((await ask([new Error('reset'), down, ok(ready)], 0)).result).toMatchObject({ url: 'http://a:1' });
    const silent = await ask([new DOMException('no answer', 'TimeoutError')], 0);
    expect([silent.posted.length, (silent.result as UpstreamError).failure]).toEqual([3, 'timeout']);
    const refused = await ask([{ status: 404, text: 'no such endpoint' }], 60_000);
    expect([refused.posted.length, (refused.result as UpstreamError).status]).toEqual([1, 404]);
    const wrong = await ask([{ status: 401, text: 'the-key-of-it is no key' }], 60_000);
    expect(wrong.result).toMatchObject({ status: 401, advice: 'check vast-api-key', detail: '[redacted] is no key' });
  });
});
