import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startPostgres } from '../support/postgres-server.ts';
import { buildProxy, type ProxyBundle } from '../support/proxy-bundle.ts';
import { answerJson, type ScriptedBackend, startScriptedBackend } from '../support/scripted-backend.ts';

const folder = mkdtempSync(join(tmpdir(), 'proxy-replicas-'));
let postgres: Awaited<ReturnType<typeof startPostgres>>;
let backend: ScriptedBackend;
let bundle: ProxyBundle;
beforeAll(async () => {
  [postgres, bundle, backend] = await Promise.all([
    startPostgres(),
    buildProxy(),
    startScriptedBackend(
      answerJson(200, { model: 'm', choices: [{ finish_reason: 'stop' }], usage: { prompt_tokens: 1 } }),
    ),
  ]);
}, 60_000);
afterAll(async () => {
  await bundle.close();
  await backend.close();
  await postgres.stop();
  rmSync(folder, { recursive: true });
});

/** Each with a temporary folder of its own: they share nothing but the database. */
const start = () =>
  bundle.start({
    TMPDIR: mkdtempSync(join(folder, 'tmp-')),
    STORE_URL: postgres.url,
    BACKEND_URL: backend.url,
    BACKEND_KIND: 'openai',
    HEALTHCHECK_INTERVAL_S: '0',
    PRICES: '{"m": {"input_cost_per_token": 0.001}}',
    CALLERS: '{"test": {"daily_budget_usd": 0.06, "admin": true}}',
  });
const headers = { 'X-Api-Key': 'proxy-key' };

it('a daily budget is spent once by all replicas, and outlives them; so does history', async () => {
  const replicas = await Promise.all([start(), start(), start()]);
  const statuses: number[] = [];
  for (let call = 0; call < 150; call += 1) {
    const { url } = replicas[call % replicas.length]!;
    const answer = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body: '{"model":"m"}' });
    await answer.text();
    statuses.push(answer.status);
  }
  const admitted = statuses.filter((status) => status === 200).length;
  // Sixty, and a twentieth of them for each of the other two; one more while each asks.
  expect(admitted).toBeGreaterThanOrEqual(60);
  expect(admitted).toBeLessThanOrEqual(60 + 2 * 3 + 3);
  expect(new Set(statuses)).toEqual(new Set([200, 429]));
  expect(backend.calls).toHaveLength(admitted);

  for (const { child } of replicas) child.kill('SIGTERM');
  await Promise.all(replicas.map(({ exited }) => exited));
  const { url } = await start();
  const spent = async () => {
    const key = (await (await fetch(`${url}/_proxy/key`, { headers })).json()) as {
      daily_budget_usd: { spent: string };
    };
    return Math.round(Number(key.daily_budget_usd.spent) * 1_000);
  };
  await expect.poll(spent, { timeout: 10_000 }).toBe(admitted);
  const refused = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body: '{"model":"m"}' });
  expect(refused.status).toBe(429);
  const page = (await (await fetch(`${url}/history?format=json&outcome=ok&limit=1000`, { headers })).json()) as {
    records: { serial: string }[];
  };
  expect(page.records).toHaveLength(admitted);
  expect(new Set(page.records.map(({ serial }) => serial)).size).toBe(admitted);
});
