import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { lastMonth } from '../../functions/llm-global-spend/statement/issue.ts';
import { type LitellmSandbox, startLitellmSandbox } from '../../sandbox/litellm.ts';
import { bundle } from '../../template/node24-ts/build.mjs';
import { type BundleProcess, runBundle, until } from '../support/bundle-process.ts';
import { startPostgres } from '../support/postgres-server.ts';

const root = join(import.meta.dirname, '../..');
const month = lastMonth(new Date());
let folder: string;
let litellm: LitellmSandbox;
let postgres: Awaited<ReturnType<typeof startPostgres>>;
let receiver: Server;
const posts: { budget: string; threshold: number | null }[] = [];
const replicas: BundleProcess[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'spend-system-'));
  await bundle({ entry: join(root, 'functions/llm-global-spend/index.ts'), outfile: join(folder, 'index.cjs') });
  postgres = await startPostgres();
  litellm = await startLitellmSandbox({ seed: 9 });
  receiver = createServer(async (req, res) => {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk);
    posts.push(JSON.parse(Buffer.concat(chunks).toString()));
    res.end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  receiver.closeAllConnections();
  receiver.close();
  await litellm.close();
  await postgres.stop();
  rmSync(folder, { recursive: true });
});
afterEach(async () => {
  for (const { child } of replicas) child.kill('SIGTERM');
  await Promise.all(replicas.splice(0).map(({ exited }) => exited));
});

/** Each with a temporary folder of its own: they share nothing but the database. */
async function start(): Promise<string> {
  const budget = (scope: string, period: string) =>
    `{"scope":"${scope}","period":"${period}","limit_usd":0.01,"forecast":false}`;
  const replica = await runBundle(join(folder, 'index.cjs'), {
    TMPDIR: mkdtempSync(join(folder, 'tmp-')),
    STORE_URL: postgres.url,
    LITELLM_API_BASE_URL: litellm.url,
    LITELLM_API_KEY: 'sk-sandbox',
    LITELLM_EPOCH: `${month}-01`,
    AUTH: 'none',
    ALLOW_SCHEDULED_TICK: 'true',
    SPEND_BUDGETS: `[${budget('proxy', 'day')},${budget('proxy', 'week')},${budget('proxy', 'month')}]`,
    SPEND_ALERT_WEBHOOK_URL: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
  });
  replicas.push(replica);
  return `http://127.0.0.1:${replica.port}`;
}

const startThree = () => Promise.all([start(), start(), start()]);
const read = async (url: string) => (await (await fetch(url)).json()) as Record<string, unknown>;

it('three replicas on one PostgreSQL, checked at once and again, tell each threshold once', async () => {
  litellm.addRow({ request_id: 'now', startTime: new Date(Date.now() - 1).toISOString(), spend: 5 });
  const urls = await startThree();
  for (let round = 0; round < 3; round++) {
    await Promise.all(urls.map((url) => fetch(`${url}/budgets`, { method: 'POST' })));
  }
  await until('nothing waits', async () => {
    const { alerts } = (await read(`${urls[0]}/budgets`)) as { alerts: { waiting: number } };
    return alerts.waiting === 0 ? true : undefined;
  });
  expect(posts.map(({ budget, threshold }) => `${budget} ${threshold}`).toSorted()).toEqual([
    'everything per day 100',
    'everything per month 100',
    'everything per week 100',
  ]);
});

it('a statement that three replicas issue at once is one, and outlives them all', async () => {
  const urls = await startThree();
  const issued = await Promise.all(urls.map((url) => read(`${url}/statement?month=${month}`)));
  expect(issued.map(({ status, durable }) => [status, durable])).toEqual(Array(3).fill(['issued', true]));
  expect(new Set(issued.map(({ checksum }) => checksum)).size).toBe(1);
  expect(new Set(issued.map(({ issued_at }) => issued_at)).size).toBe(1);
  for (const { child, exited } of replicas.splice(0)) {
    child.kill('SIGTERM');
    await exited;
  }
  litellm.addRow({ request_id: 'late', startTime: `${month}-10T10:00:00.000Z`, spend: 1.25 });
  const later = await read(`${await start()}/statement?month=${month}`);
  expect(later).toMatchObject({ checksum: issued[0]!.checksum, issued_at: issued[0]!.issued_at, notes: [] });
  expect(later.figures).toEqual(issued[0]!.figures);
  expect((later.adjustments as { table: string; difference_requests: number }[])[0]).toMatchObject({
    table: 'total',
    difference_requests: 1,
  });
});
