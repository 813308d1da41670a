import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { type LitellmSandbox, startLitellmSandbox } from '../../sandbox/litellm.ts';
import { bundle } from '../../template/node24-ts/build.mjs';
import { type BundleProcess, runBundle, until } from '../support/bundle-process.ts';

const root = join(import.meta.dirname, '../..');
let folder: string;
let litellm: LitellmSandbox;
let receiver: Server;
let posts: { threshold: number; id: string }[];
let answerWith: number;
let replicas: BundleProcess[];
const outfile = () => join(folder, 'index.cjs');

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'spend-e2e-'));
  await bundle({ entry: join(root, 'functions/llm-global-spend/index.ts'), outfile: outfile() });
});
afterAll(() => rmSync(folder, { recursive: true }));

beforeEach(async () => {
  posts = [];
  answerWith = 200;
  replicas = [];
  litellm = await startLitellmSandbox({ seed: 3 });
  litellm.rows.length = 0;
  receiver = createServer(async (req, res) => {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk);
    posts.push(JSON.parse(Buffer.concat(chunks).toString()));
    res.writeHead(answerWith).end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  for (const { child } of replicas) child.kill('SIGKILL');
  await Promise.all(replicas.map(({ exited }) => exited));
  await litellm.close();
  receiver.closeAllConnections();
  receiver.close();
});

/** Each with the same temporary folder, so that they share the store's file as replicas share a database. */
async function start(directory: string): Promise<{ url: string; replica: BundleProcess }> {
  const replica = await runBundle(outfile(), {
    TMPDIR: directory,
    LITELLM_API_BASE_URL: litellm.url,
    LITELLM_API_KEY: 'sk-sandbox',
    LITELLM_EPOCH: new Date(Date.now() - 40 * 86_400_000).toISOString().slice(0, 10),
    FUNCTION_API_KEY: 'me:the-key',
    ALLOW_SCHEDULED_TICK: 'true',
    SPEND_BUDGETS: '[{"name":"all","scope":"proxy","period":"month","limit_usd":10,"forecast":false}]',
    SPEND_ALERT_WEBHOOK_URL: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`,
  });
  replicas.push(replica);
  return { url: `http://127.0.0.1:${replica.port}`, replica };
}

const tick = (url: string) => fetch(url, { method: 'POST', headers: { 'X-Connector': 'cron-connector' } });
const key = { Authorization: 'Bearer the-key' };
const checked = ({ lines }: BundleProcess) => lines.filter((line) => line.includes('"msg":"budgets checked"')).length;
const addSpend = () =>
  litellm.addRow({ request_id: 'r1', startTime: new Date(Date.now() - 1).toISOString(), spend: 8.5 });

it('two replicas that are ticked at once tell a threshold once, and after a restart not again', async () => {
  const directory = mkdtempSync(join(folder, 'store-'));
  addSpend();
  const [first, second] = await Promise.all([start(directory), start(directory)]);
  const answers = await Promise.all([tick(first.url), tick(second.url)]);
  expect(answers.map(({ status }) => status)).toEqual([202, 202]);
  await until('both have checked', () => (checked(first.replica) + checked(second.replica) === 2 ? true : undefined));
  expect(posts.map(({ threshold }) => threshold)).toEqual([80]);

  first.replica.child.kill('SIGTERM');
  expect(await first.replica.exited).toBe(0);
  const third = await start(directory);
  await tick(third.url);
  await until('the new one has checked', () => (checked(third.replica) === 1 ? true : undefined));
  expect(posts).toHaveLength(1);
});

it('an alert that nobody took outlives its replica, and is the same when it is taken', async () => {
  const directory = mkdtempSync(join(folder, 'store-'));
  addSpend();
  answerWith = 500;
  const first = await start(directory);
  await tick(first.url);
  await until('it has checked', () => (checked(first.replica) === 1 ? true : undefined));
  first.replica.child.kill('SIGKILL');
  await first.replica.exited;

  answerWith = 200;
  const second = await start(directory);
  await tick(second.url);
  await until('it is posted again', () => posts[1]);
  expect(posts[1]).toEqual(posts[0]);
});

it('the page, the budgets, the metrics and the statement need a key, and none of them a setting', async () => {
  const { url } = await start(mkdtempSync(join(folder, 'store-')));
  for (const path of ['/', '/budgets', '/metrics', '/statement']) {
    const headers = { Accept: 'text/html' };
    const refused = await fetch(url + path, { headers });
    expect([path, refused.status, refused.headers.get('www-authenticate')]).toEqual([
      path,
      401,
      'Basic realm="llm-global-spend", charset="UTF-8"',
    ]);
    const admitted = await fetch(url + path, { headers: { ...headers, ...key } });
    expect([path, admitted.status]).toEqual([path, 200]);
    expect((await admitted.text()).length).toBeGreaterThan(50);
  }
});
