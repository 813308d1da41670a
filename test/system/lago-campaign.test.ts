import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startLagoSandbox } from '../../sandbox/lago.ts';
import { startLitellmSandbox } from '../../sandbox/litellm.ts';
import { bundle } from '../../template/node24-ts/build.mjs';
import { type BundleProcess, runBundle } from '../support/bundle-process.ts';
import { invoicedLines, settle, type Target, wage } from '../support/lago-campaign.ts';
import { startPostgres } from '../support/postgres-server.ts';

/**
 * The real process, killed at work, against each Lago: all four at once with 5,000 calls, as a killed run's lease lasts for
 * half a minute in which nothing happens. `CAMPAIGN_PROFILE` (1.12, 1.33, 1.39, clickhouse) takes one with 100,000 calls;
 * `CAMPAIGN_CALLS` and `CAMPAIGN_SEED` choose and repeat a run of it.
 */
const wanted = process.env.CAMPAIGN_PROFILE ?? 'all';
const calls = Number(process.env.CAMPAIGN_CALLS ?? (wanted === 'all' ? 5_000 : 100_000));
const seeds: [profile: string, seed: number][] = [
  ['1.12', 101],
  ['1.33', 102],
  ['1.39', 103],
  ['clickhouse', 104],
];
const chosen = seeds
  .filter(([profile]) => wanted === 'all' || wanted === profile)
  .map(([profile, seed]): [string, number] => [profile, Number(process.env.CAMPAIGN_SEED ?? seed)]);

const folder = mkdtempSync(join(tmpdir(), 'lago-campaign-'));
const file = join(folder, 'index.cjs');
const hourMs = 3_600_000;

beforeAll(async () => {
  await bundle({ entry: join(import.meta.dirname, '../../functions/lago-usage-push/index.ts'), outfile: file });
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

test.concurrent.each(chosen)(
  `bills ${calls} calls of three sources once each on Lago %s (seed %i), whatever fails, and kill -9 in between`,
  async (profile, seed) => {
    const postgres = await startPostgres();
    const litellm = await startLitellmSandbox({ seed });
    const lago = await startLagoSandbox({ profile });
    let env: Record<string, string> = {};
    const billFrom = new Date(Date.now() - 13 * hourMs).toISOString();

    async function start(): Promise<BundleProcess> {
      const life = await runBundle(file, {
        LITELLM_API_BASE_URL: litellm.url,
        LITELLM_API_KEY: 'sk-sandbox',
        LAGO_API_BASE: lago.url,
        LAGO_API_KEY: 'lago-sandbox',
        STORE_URL: postgres.url,
        FUNCTION_API_KEY: 'test:key',
        TRUST_REQUEST_USER: 'true',
        PREFLIGHT: 'off',
        BILLING_PERIOD: 'none',
        BILL_FROM: billFrom,
        LAGO_TIMEOUT_MS: '2000',
        RUN_SECONDS: '20',
        ...env,
      });
      if (life.port === 0) throw new Error(life.lines.join('\n'));
      return life;
    }

    let life = await start();
    const target: Target = {
      async post(path, body) {
        try {
          const answer = await fetch(`http://127.0.0.1:${life.port}${path}`, {
            method: 'POST',
            headers: { 'X-Api-Key': 'key' },
            body,
          });
          return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
        } catch {
          return { status: 0, body: {} };
        }
      },
      async kill() {
        life.child.kill('SIGKILL');
        await life.exited;
        life = await start();
      },
    };
    const startedAt = Date.now();
    const { owed, killed, late } = await wage({
      seed,
      calls,
      spreadMs: 12 * hourMs,
      now: Date.now,
      litellm,
      lago,
      target,
      kills: wanted === 'all' ? 2 : 3,
      report: (line) => console.log(`${profile}: ${line}`),
    });
    await settle(target);
    env = { DEFAULT_SUBSCRIPTION: 'house' };
    life.child.kill('SIGTERM');
    expect(await life.exited).toBe(0);
    life = await start();
    const last = await settle(target);
    life.child.kill('SIGTERM');
    await life.exited;
    console.log(
      `${profile}, seed ${seed}: ${owed.length} owed, ${lago.invoiced().length} invoiced, ${killed} kills, ` +
        `${late} rows logged late, ${lago.ledger.filter(({ fault }) => fault !== undefined).length} faults at Lago, ` +
        `${Math.round((Date.now() - startedAt) / 1000)} s`,
    );
    expect(last).toMatchObject({ unmapped: [], held: [], dead: [] });
    expect(killed).toBeGreaterThanOrEqual(2);
    // Event by event: id, subscription, cost, time and model.
    const invoiced = invoicedLines(lago);
    expect(invoiced.length).toBe(owed.length);
    expect(invoiced.findIndex((line, index) => line !== owed[index])).toBe(-1);
    expect(lago.events).toHaveLength(owed.length);
    await Promise.all([litellm.close(), lago.close(), postgres.stop()]);
  },
  900_000,
);
