import type { Dispatcher } from 'undici';
import { describe, expect, it } from 'vitest';
import { UpstreamError } from '#shared/errors.ts';
import { Journey } from '../../../../functions/completion-proxy/vast/journey.ts';
import type { RouteRequest } from '../../../../functions/completion-proxy/vast/router.ts';

const ticketFor = (url: string) => ({
  url,
  auth: { cost: '1.0', endpoint: '"e"', reqnum: '1', request_idx: '7', signature: '"s"', url: JSON.stringify(url) },
});
const lost = new Error('no connection');

/** One call on its way: `workers` are named in turn, each with the status that it gives, or none where it is lost. */
async function travel(workers: [url: string, status: number | undefined][], waitMs = 60_000) {
  const asked: Pick<RouteRequest, 'requestIdx' | 'waitMs'>[] = [];
  const went: string[] = [];
  let clock = 0;
  let told: number | Error | undefined;
  const journey = new Journey(
    {
      router: {
        async route({ requestIdx, waitMs: left }) {
          asked.push({ requestIdx, waitMs: left });
          clock += 20_000;
          const [url] = workers[asked.length - 1] ?? workers.at(-1)!;
          return ticketFor(url);
        },
      },
      target: {
        endpoint: 'e',
        apiKey: undefined,
        accountKey: undefined,
        consoleUrl: '',
        defaultCost: 100,
        waitMs,
        ca: undefined,
      },
      poolOf: (origin) => ({
        dispatch(_options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler) {
          const [, status] = workers[asked.length - 1] ?? workers.at(-1)!;
          went.push(origin);
          const controller = { abort() {}, pause() {}, resume() {} } as unknown as Dispatcher.DispatchController;
          handler.onRequestStart?.(controller, {});
          if (status === undefined) handler.onResponseError?.(controller, lost);
          else {
            handler.onResponseStart?.(controller, status, {});
            handler.onResponseEnd?.(controller, {});
          }
          return true;
        },
      }),
      async sleep(ms) {
        went.push(`${ms} ms`);
      },
      random: () => 1,
      clock: () => clock,
    },
    {
      onResponseStart: (_controller, status) => {
        told = status;
      },
      onResponseError: (_controller, error) => {
        told = error;
      },
    },
  );
  await journey.run({ method: 'GET', path: '/x', headers: [], body: undefined });
  return { asked, went, told };
}

describe('a call on its way to a worker', () => {
  it('goes from a lost worker to another at once, and waits where the same one is named again', async () => {
    const { went, told } = await travel([
      ['http://a', undefined],
      ['http://b', undefined],
      ['http://a', undefined],
      ['http://a', 200],
    ]);
    expect(went).toEqual(['http://a', 'http://b', '2000 ms', 'http://a', '4000 ms', 'http://a']);
    expect(told).toBe(200);
  });

  it('waits ever longer after refusals, and ends with the fourth', async () => {
    const { went, told } = await travel([['http://a', 429]]);
    expect(went).toEqual(['http://a', '1000 ms', 'http://a', '2000 ms', 'http://a', '4000 ms', 'http://a']);
    expect(told).toBe(429);
    expect((await travel([['http://a', undefined]])).told).toBe(lost);
  });

  it('has one number, and one wait for all of its workers', async () => {
    const { asked } = await travel([['http://a', 503]], 50_000);
    expect(asked).toEqual([
      { requestIdx: undefined, waitMs: 50_000 },
      { requestIdx: '7', waitMs: 30_000 },
      { requestIdx: '7', waitMs: 10_000 },
      { requestIdx: '7', waitMs: 0 },
    ]);
  });

  it.each([500, 502, 503, 408, 429])('takes %i for a refusal', async (status) => {
    expect(
      (
        await travel([
          ['http://a', status],
          ['http://b', 200],
        ])
      ).told,
    ).toBe(200);
  });

  it.each([501, 505, 400, 401, 404, 422])('takes %i for the answer', async (status) => {
    const { told, went } = await travel([
      ['http://a', status],
      ['http://b', 200],
    ]);
    expect([told, went]).toEqual([status, ['http://a']]);
  });

  it('tells an error of the autoscaler as it is', async () => {
    const error = new UpstreamError('Vast.ai', 'status', 'boom');
    const told: unknown[] = [];
    const journey = new Journey(
      {
        router: { route: () => Promise.reject(error) },
        target: { endpoint: 'e' } as never,
        poolOf: () => ({}) as never,
        sleep: async () => {},
        random: () => 1,
        clock: () => 0,
      },
      { onResponseError: (_controller, failure) => told.push(failure) },
    );
    await journey.run({ method: 'GET', path: '/x', headers: [], body: undefined });
    expect(told).toEqual([error]);
  });
});
