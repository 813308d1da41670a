import { createServer, type IncomingHttpHeaders, request, type Server } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import create from '../../functions/spot-start-service/index.ts';
import { readWantedUrl } from '../../functions/spot-start-service/wake/address.ts';
import { addStack } from '../../sandbox/portainer/add.ts';
import { type PortainerSandbox, startPortainerSandbox } from '../../sandbox/portainer.ts';
import { until } from '../support/bundle-process.ts';
import { blocksOf, fillIn, freePort, startCaddy, startNginx, withKey } from '../support/proxies.ts';
import { serveHandler } from '../support/serve.ts';

const file = `services:
  app:
    image: nextcloud:31
    restart: unless-stopped
    healthcheck: { test: curl }
    labels:
      spot-start.host: cloud.example.com
`;
const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
const prefix = '/function/spot-start-service';
const blocks = blocksOf('wake-page.md');
const block = (name: string) => {
  const found = blocks.get(name);
  if (found === undefined) throw new Error(`docs/wake-page.md has no block ${name}`);
  return found;
};

let sandbox: PortainerSandbox;
let gateway: Awaited<ReturnType<typeof serveHandler>>;
let proxy: { port: number; close(): Promise<void>; said(): string };
let seen: { url: string; headers: IncomingHttpHeaders }[];
let service: Server;
let servicePort: number;

async function openGateway(env: Record<string, string>) {
  const handler = create({
    SECRET_MOUNT_PATH: '/nonexistent',
    FUNCTION_API_KEY: 'proxy:proxy-key',
    PORTAINER_API_URL: sandbox.url,
    ...sandbox.credentials,
    ...env,
  });
  // What OpenFaaS' gateway does: the function sees the rest of the path, and the query as it came.
  gateway = await serveHandler((event, context) => {
    seen.push({ url: event.url, headers: event.headers });
    if (!event.url.startsWith(prefix)) return Promise.resolve({ status: 404 });
    return handler({ ...event, url: event.url.slice(prefix.length), path: event.path.slice(prefix.length) }, context);
  });
  return new URL(gateway.url).host;
}

beforeEach(async () => {
  seen = [];
  sandbox = await startPortainerSandbox({ profile: 'new', startMs: 200, healthyAfterMs: 300 });
  addStack(sandbox.world, { id: 900, name: 'nextcloud-files', file });
  servicePort = await freePort();
  service = createServer((req, res) => res.writeHead(req.url === '/own' ? 503 : 200).end(`the service at ${req.url}`));
});
afterEach(async () => {
  service.closeAllConnections();
  service.close();
  await proxy.close();
  await gateway.close();
  await sandbox.close();
});

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

/** As a browser at http://cloud.example.com:<port>. */
function visit(path: string, options: { method?: string; headers?: Record<string, string>; host?: string } = {}) {
  const { method = 'GET', host = 'cloud.example.com' } = options;
  const headers = {
    'User-Agent': firefox,
    Host: `${host}:${proxy.port}`,
    Cookie: 'session=secret',
    Authorization: 'Basic c2VjcmV0',
  };
  return new Promise<Answer>((resolve, reject) => {
    const call = request({
      host: '127.0.0.1',
      port: proxy.port,
      path,
      method,
      agent: false,
      headers: { ...headers, ...options.headers },
    });
    call.on('error', reject);
    call.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    });
    call.end(method === 'POST' ? 'password=secret' : undefined);
  });
}

const mark = ({ headers }: Answer) => headers['x-spot-start'];
const isHealthy = () =>
  sandbox.world.containers.some(
    ({ project, state, startedAt }) =>
      project === 'nextcloud-files' && state === 'running' && Date.now() - startedAt > sandbox.world.healthyAfterMs,
  );

/** What every proxy must do, from a sleeping service to its own answers. */
async function walk() {
  const asks = [
    await visit('/', { method: 'HEAD' }),
    await visit('/', { headers: { 'Sec-Purpose': 'prefetch' } }),
    await visit('/', { headers: { 'User-Agent': 'Googlebot/2.1' } }),
    await visit('/', { headers: { 'X-Spot-Start': 'poll' } }),
  ];
  expect(asks.map((answer) => [answer.status, mark(answer)])).toEqual(Array(4).fill([503, 'asleep']));
  expect(asks[0]?.body).toBe('');
  expect((await visit('/login', { method: 'POST' })).status).toBe(503);
  expect(sandbox.counts.starts).toEqual({});

  const first = await visit('/apps/files?dir=%2Fa%20b&view=list&x=1');
  expect({ status: first.status, mark: mark(first) }).toEqual({ status: 503, mark: 'starting' });
  expect(first.body).toContain('<title>Waking nextcloud-files</title>');
  expect(first.headers).toMatchObject({ 'cache-control': 'no-store', 'retry-after': '5' });
  // Every `&` and every escape of the visited URL arrive.
  const wanted = `http://cloud.example.com:${proxy.port}/apps/files?dir=%2Fa%20b&view=list&x=1`;
  expect(readWantedUrl(seen.at(-1)!).href).toBe(wanted);
  expect(first.body).toContain(`data-wanted="${wanted.replaceAll('&', '&amp;')}"`);
  for (const { headers } of seen) expect([headers.cookie, headers.authorization]).toEqual([undefined, undefined]);

  await until('the containers are healthy', () => isHealthy() || undefined);
  const poll = () => visit('/apps/files', { headers: { 'X-Spot-Start': 'poll' } });
  await until('the page says so', async () => mark(await poll()) === 'ready' || undefined);
  expect((await poll()).status).toBe(503);
  await new Promise<void>((done) => service.listen(servicePort, '127.0.0.1', done));
  const there = await until('the service answers', async () => {
    const answer = await poll();
    return mark(answer) === undefined ? answer : undefined;
  });
  expect(there).toMatchObject({ status: 200, body: 'the service at /apps/files' });
  expect(await visit('/own')).toMatchObject({ status: 503, body: 'the service at /own' });
  expect(sandbox.counts.starts).toEqual({ 900: 1 });
}

describe('nginx, as docs/wake-page.md has it', () => {
  async function open(env: Record<string, string>, key?: string) {
    const port = await freePort();
    const host = await openGateway(env);
    const wake = fillIn(block('nginx spot-start.conf'), { 'gateway:8080': host });
    const http = [
      fillIn(block('nginx service'), { 'listen 80;': `listen ${port};`, 'nextcloud:80': `127.0.0.1:${servicePort}` }),
      fillIn(block('nginx catch-all'), { 'listen 80 default_server;': `listen ${port} default_server;` }),
    ].join('\n');
    proxy = await startNginx(port, http, { 'spot-start.conf': key === undefined ? wake : withKey(wake, key) });
  }

  test('wakes a labelled service for anybody where the page is public', async () => {
    await open({ SPOT_START_PUBLIC_WAKE: 'true' });
    await walk();
  });

  test('wakes with a key where it is not, and asks no visitor for a password', async () => {
    await open({});
    const refused = await visit('/');
    expect({ status: refused.status, dialog: refused.headers['www-authenticate'] }).toEqual({
      status: 401,
      dialog: undefined,
    });
    await proxy.close();
    await gateway.close();
    await open({}, 'proxy-key');
    await walk();
  });

  test('answers for every host that it does not know', async () => {
    addStack(sandbox.world, { id: 901, name: 'wiki', file: file.replace('cloud.', 'wiki.') });
    await open({}, 'proxy-key');
    const nobody = await visit('/', { host: 'nobody.example.com' });
    expect({ status: nobody.status, mark: mark(nobody) }).toEqual({ status: 404, mark: 'unknown' });
    const wiki = await visit('/', { host: 'wiki.example.com' });
    expect({ status: wiki.status, mark: mark(wiki) }).toEqual({ status: 503, mark: 'starting' });
  });
});

describe('Caddy, as docs/wake-page.md has it', () => {
  async function open(env: Record<string, string>, key?: string) {
    const port = await freePort();
    const host = await openGateway(env);
    const snippet = fillIn(block('caddyfile snippet'), { 'gateway:8080': host });
    const site = fillIn(block('caddyfile service'), {
      'cloud.example.com': `http://cloud.example.com:${port}`,
      'nextcloud:80': `127.0.0.1:${servicePort}`,
    });
    const rest = fillIn(block('caddyfile catch-all'), { ':80': `:${port}` });
    proxy = await startCaddy(port, [key === undefined ? snippet : withKey(snippet, key), site, rest].join('\n'));
  }

  test('wakes a labelled service for anybody where the page is public', async () => {
    await open({ SPOT_START_PUBLIC_WAKE: 'true' });
    await walk();
  });

  test('wakes with a key where it is not, and answers for every host that it does not know', async () => {
    await open({}, 'proxy-key');
    await walk();
    const nobody = await visit('/', { host: 'nobody.example.com' });
    expect({ status: nobody.status, mark: mark(nobody) }).toEqual({ status: 404, mark: 'unknown' });
  });
});

test("Traefik's parts are one another's: every router, middleware and service that is named is there", () => {
  const { http } = parse(block('yaml traefik')) as {
    http: {
      routers: Record<string, { rule: string; priority: number; middlewares: string[]; service: string }>;
      middlewares: Record<
        string,
        Record<string, { path?: string; query?: string; service?: string; status?: string[] }>
      >;
      services: Record<string, { loadBalancer: { servers: { url: string }[] } }>;
    };
  };
  const router = http.routers['spot-start']!;
  expect(router).toMatchObject({ rule: 'PathPrefix(`/`)', priority: 1 });
  for (const name of router.middlewares) expect(Object.keys(http.middlewares)).toContain(name);
  expect(Object.keys(http.services)).toContain(router.service);
  // Headers before the path: else a visitor's X-Replaced-Path would stand beside the proxy's.
  expect(router.middlewares).toEqual(['spot-start-headers', 'spot-start-path']);
  expect(http.middlewares['spot-start-headers']?.headers).toEqual({
    customRequestHeaders: { Cookie: '', Authorization: '', 'X-Replaced-Path': '' },
  });
  expect(http.middlewares['spot-start-path']?.replacePath?.path).toBe(`${prefix}/wake`);
  const { errors } = http.middlewares['spot-start-errors']!;
  expect(Object.keys(http.services)).toContain(errors?.service);
  expect(errors?.query).toBe(`${prefix}/wake?referral_url={url}`);
  expect(http.services['spot-start']?.loadBalancer.servers).toEqual([{ url: 'http://gateway:8080' }]);
});
