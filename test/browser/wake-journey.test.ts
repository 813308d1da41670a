import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { BrowserContext } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import create from '../../functions/spot-start-service/index.ts';
import { addStack } from '../../sandbox/portainer/add.ts';
import { type PortainerSandbox, startPortainerSandbox } from '../../sandbox/portainer.ts';
import { openBrowser } from '../support/browser.ts';
import { serveHandler } from '../support/serve.ts';

const file = `services:
  db:
    image: postgres:17
    restart: unless-stopped
    healthcheck: { test: pg_isready }
  app:
    image: wiki:3
    restart: unless-stopped
    depends_on: [db]
    healthcheck: { test: curl }
    labels:
      spot-start.host: wiki.localhost
`;

let sandbox: PortainerSandbox;
let spot: Awaited<ReturnType<typeof serveHandler>>;
let proxy: Server;
let address: string;
let browser: { context: BrowserContext; close(): Promise<void> };
let serviceBroken = false;

/** The service itself: it answers while its container is healthy, as a real one behind a proxy would. */
const isUp = () =>
  !serviceBroken &&
  sandbox.world.containers.some(
    ({ name, state, startedAt }) =>
      name === 'wiki-app-1' && state === 'running' && Date.now() - startedAt > sandbox.world.healthyAfterMs,
  );

/** A reverse proxy whose error page is ours, as docs/wake-page.md has it for nginx. */
function startProxy(): Promise<Server> {
  const server = createServer((req, res) => {
    if (isUp()) {
      res.writeHead(200, { 'Content-Type': 'text/html' });
      return res.end(`<title>Wiki</title><h1>The wiki at ${req.url}</h1>`);
    }
    const method = req.method === 'HEAD' ? 'HEAD' : 'GET';
    const path = `/wake?referral_url=http://${req.headers.host}${req.url}`;
    const headers = { ...req.headers, cookie: '', 'x-api-key': 'proxy-key' };
    const upstream = request(spot.url + path, { method, headers }, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(res);
    });
    upstream.on('error', () => res.writeHead(502).end('Bad Gateway'));
    return upstream.end();
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

beforeAll(async () => {
  browser = await openBrowser({ viewport: { width: 900, height: 720 } });
});
afterAll(() => browser.close());

beforeEach(async () => {
  serviceBroken = false;
  sandbox = await startPortainerSandbox({ profile: 'new', startMs: 1_200, healthyAfterMs: 2_500 });
  addStack(sandbox.world, { id: 900, name: 'wiki', file });
  const handler = create({
    SECRET_MOUNT_PATH: '/nonexistent',
    FUNCTION_API_KEY: 'proxy:proxy-key',
    PORTAINER_API_URL: sandbox.url,
    ...sandbox.credentials,
  });
  spot = await serveHandler(handler);
  proxy = await startProxy();
  address = `http://wiki.localhost:${(proxy.address() as AddressInfo).port}`;
});
afterEach(async () => {
  proxy.closeAllConnections();
  proxy.close();
  await spot.close();
  await sandbox.close();
});

const moodOf = (page: { getAttribute(selector: string, name: string): Promise<string | null> }) =>
  page.getAttribute('main', 'data-mood');

describe('a visitor of a service that sleeps', () => {
  test('sees it wake up, and then the page that was wanted', async () => {
    const page = await browser.context.newPage();
    const answer = await page.goto(`${address}/pages/home?view=all&lang=en`);
    expect(answer?.status()).toBe(503);
    expect(await moodOf(page)).toBe('starting');
    expect(await page.title()).toBe('Waking wiki');
    await page.waitForSelector('li:has-text("db")', { timeout: 10_000 });
    await page.waitForSelector('h1:has-text("The wiki at /pages/home?view=all&lang=en")', { timeout: 20_000 });
    expect(page.url()).toBe(`${address}/pages/home?view=all&lang=en`);
    expect(sandbox.counts).toMatchObject({ starts: { 900: 1 }, composeUps: { 900: 1 } });
    expect(sandbox.counts.logins.given).toBe(1);
    await page.close();
  });

  test('sees the same without scripts', async () => {
    const plain = await openBrowser({ javaScriptEnabled: false });
    const page = await plain.context.newPage();
    await page.goto(`${address}/pages/home`);
    expect(await page.textContent('h1')).toBe('Waking wiki');
    await page.waitForSelector('h1:has-text("The wiki at /pages/home")', { timeout: 30_000 });
    expect(sandbox.counts.starts).toEqual({ 900: 1 });
    await plain.close();
  });

  test('is told why it does not start, and tries again', async () => {
    const stack = sandbox.world.stacks.find(({ id }) => id === 900)!;
    stack.startError = 'pull access denied for wiki';
    const page = await browser.context.newPage();
    await page.goto(address);
    await page.waitForSelector('main[data-mood=failed]', { timeout: 20_000 });
    expect(await page.textContent('h1')).toBe('wiki did not wake up');
    expect((await page.textContent('[data-part=text]'))?.length).toBeGreaterThan(10);
    expect(await page.content()).not.toContain('proxy-key');
    expect(sandbox.counts.starts[900]).toBeLessThanOrEqual(2);
    await page.close();
  });

  test('stays on the page while something between answers 502, and goes on when it is back', async () => {
    const page = await browser.context.newPage();
    await page.goto(address);
    expect(await moodOf(page)).toBe('starting');
    const { url } = spot;
    spot.url = 'http://127.0.0.1:9';
    await page.waitForResponse((response) => response.status() === 502, { timeout: 10_000 });
    expect(await page.title()).toBe('Waking wiki');
    spot.url = url;
    await page.waitForSelector('h1:has-text("The wiki")', { timeout: 20_000 });
    await page.close();
  });
});

test('a healthy service whose proxy still answers with the page is not gone to before it answers itself', async () => {
  serviceBroken = true;
  const page = await browser.context.newPage();
  await page.goto(address);
  await page.waitForSelector('main[data-mood=ready]', { timeout: 20_000 });
  expect(await page.textContent('h1')).toBe('wiki is up');
  await page.waitForResponse((response) => response.headers()['x-spot-start'] === 'ready');
  expect(await page.textContent('h1')).toBe('wiki is up');
  serviceBroken = false;
  await page.waitForSelector('h1:has-text("The wiki")', { timeout: 10_000 });
  await page.close();
});

test("a browser at the function's own address is sent to the service", async () => {
  const page = await browser.context.newPage();
  await page.setExtraHTTPHeaders({ 'X-Api-Key': 'proxy-key' });
  await page.goto(`${spot.url}/?referral_url=${encodeURIComponent(`${address}/start`)}`);
  expect(await page.title()).toBe('Waking wiki');
  await page.waitForSelector('h1:has-text("The wiki at /start")', { timeout: 20_000 });
  expect(sandbox.counts.starts).toEqual({ 900: 1 });
  await page.close();
});
