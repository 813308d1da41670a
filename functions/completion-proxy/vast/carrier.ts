import type { Readable } from 'node:stream';
import { rootCertificates } from 'node:tls';
import type { Dispatcher, Pool } from 'undici';
import { readBytes } from '#shared/http/body.ts';
import { sleep } from '#shared/retry.ts';
import type { Backend } from '../backends/backend.ts';
import type { Carrier } from '../backends/upstream.ts';
import { Journey, type JourneyParts } from './journey.ts';
import { createRouter } from './router.ts';

export type OpenPool = (origin: string, ca: string[] | undefined) => Pool;

const routeTimeoutMs = 10_000;
const maxPools = 64;

/**
 * The way to whichever worker the autoscaler names: a carrier like any other, so that what happens before and after a call
 * is the same as for a backend with an address of its own.
 */
export function createVastCarrier(backend: Backend, openPool: OpenPool): Carrier & { close(): Promise<void> } {
  const target = backend.vast!;
  const autoscaler = openPool(backend.origin, undefined);
  const ca = target.ca === undefined ? undefined : [...rootCertificates, target.ca];
  const pools = new Map<string, Pool>();

  function poolOf(origin: string): Pool {
    const pool = pools.get(origin) ?? openPool(origin, ca);
    // Workers come and go: the one that was used longest ago is the likeliest to be gone.
    pools.delete(origin);
    pools.set(origin, pool);
    if (pools.size > maxPools) {
      const [oldest, old] = pools.entries().next().value!;
      pools.delete(oldest);
      void old.close();
    }
    return pool;
  }

  const clock = () => performance.now();
  const router = createRouter({
    target,
    async post(json, key, signal) {
      const { statusCode, body } = await autoscaler.request({
        method: 'POST',
        path: `${backend.basePath}/route/`,
        headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${key}` },
        body: json,
        signal: AbortSignal.any([signal, AbortSignal.timeout(routeTimeoutMs)]),
      });
      return { status: statusCode, text: await body.text() };
    },
    sleep,
    random: Math.random,
    clock,
  });
  const parts: JourneyParts = { router, target, poolOf, sleep, random: Math.random, clock };

  return {
    dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler) {
      const { method, path, headers, body } = options;
      const journey = new Journey(parts, handler);
      const bytes = body === null || body === undefined || Buffer.isBuffer(body) ? (body ?? undefined) : undefined;
      const whole = bytes === undefined && body ? readBytes(body as Readable, Number.MAX_SAFE_INTEGER) : bytes;
      void journey.run({ method, path, headers: headers as string[], body: whole });
      return true;
    },
    async close() {
      await Promise.all([autoscaler, ...pools.values()].map((pool) => pool.close()));
    },
  };
}
