import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Store } from '#shared/store/store.ts';
import { startLagoSandbox } from '../../sandbox/lago.ts';
import { startLitellmSandbox } from '../../sandbox/litellm.ts';
import { invoicedLines, settle, type Target, wage } from '../support/lago-campaign.ts';
import { startDatabase, startPush } from '../support/push.ts';

let database: Awaited<ReturnType<typeof startDatabase>>;
beforeAll(async () => {
  database = await startDatabase();
}, 60_000);
afterAll(() => database.close());

/** A store whose process can be ended between any two of its statements. */
function mortal(store: Store): { store: Store; kill(): void } {
  let isDead = false;
  const guard = <T extends object>(part: T): T =>
    new Proxy(part, {
      get(target, name) {
        const value = Reflect.get(target, name) as unknown;
        if (typeof value !== 'function') return value;
        return (...parameters: unknown[]) =>
          isDead ? new Promise(() => undefined) : (value as (...all: unknown[]) => unknown).apply(target, parameters);
      },
    });
  return {
    store: {
      durable: true,
      kv: guard(store.kv),
      log: guard(store.log),
      lease: (name, ttlMs) => (isDead ? new Promise(() => undefined) : store.lease(name, ttlMs)),
      close: async () => undefined,
    },
    kill() {
      isDead = true;
    },
  };
}

test.each([
  ['1.12', 11],
  ['1.33', 12],
  ['1.39', 13],
  ['clickhouse', 14],
])(
  'gives Lago %s 2,000 calls of three sources once each, through faults and kills (seed %i)',
  async (profile, seed) => {
    let skewMs = 0;
    const now = () => Date.now() + skewMs;
    const litellm = await startLitellmSandbox({ seed, now: () => new Date(now()) });
    const lago = await startLagoSandbox({ profile, now: () => new Date(now()) });
    let env: Record<string, string> = {};

    function start() {
      const { store, kill } = mortal(database.open(`campaign-${profile}`, now));
      const dying = new AbortController();
      const push = startPush({
        litellmUrl: litellm.url,
        lagoUrl: lago.url,
        now,
        store,
        env: {
          BILL_FROM: new Date(now() - 10 * 3_600_000).toISOString(),
          BILLING_PERIOD: 'none',
          LAGO_TIMEOUT_MS: '250',
          LITELLM_TIMEOUT_MS: '2000',
          ...env,
        },
        dying: dying.signal,
      });
      const gone = new Promise<{ status: number; body: Record<string, unknown> }>((resolve) => {
        dying.signal.addEventListener('abort', () => resolve({ status: 0, body: {} }));
      });
      return {
        push,
        gone,
        kill() {
          kill();
          dying.abort();
        },
      };
    }

    let life = start();
    const target: Target = {
      post: (url, body) => Promise.race([life.push.call({ method: 'POST', url, body }), life.gone]),
      async kill() {
        life.kill();
        // The dead one's lease has to run out.
        skewMs += 31_000;
        life = start();
      },
    };
    const campaign = { seed, calls: 2_000, spreadMs: 60 * 60_000, now, litellm, lago, target };
    const { owed, killed } = await wage({ ...campaign, kills: 4 });
    await settle(target);
    // Whoever had no payer has one now.
    env = { DEFAULT_SUBSCRIPTION: 'house' };
    life.kill();
    skewMs += 31_000;
    life = start();
    const last = await settle(target);
    expect(last).toMatchObject({ unmapped: [], held: [], dead: [] });
    expect(killed).toBeGreaterThanOrEqual(2);
    expect(invoicedLines(lago)).toEqual(owed);
    expect(lago.events).toHaveLength(owed.length);
    await Promise.all([litellm.close(), lago.close()]);
  },
  120_000,
);
