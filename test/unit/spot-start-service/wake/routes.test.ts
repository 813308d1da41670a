import { beforeEach, describe, expect, test } from 'vitest';
import { createRouter } from '../../../../functions/spot-start-service/handler.ts';
import type { Found } from '../../../../functions/spot-start-service/resolve/match.ts';
import type { ContainerState, ServiceState, SpotService } from '../../../../functions/spot-start-service/service.ts';
import { admitVisitors } from '../../../../functions/spot-start-service/wake/admit.ts';
import { createWakeRoutes } from '../../../../functions/spot-start-service/wake/routes.ts';
import { HttpError, UpstreamError } from '../../../../shared/errors.ts';
import { defineFunction } from '../../../../shared/http/define.ts';
import type { Handler } from '../../../../shared/http/function.ts';
import { makeCall } from '../../../support/call.ts';

const container = (service: string, rest: Partial<ContainerState> = {}): ContainerState => ({
  name: `cloud-${service}-1`,
  service,
  state: 'running',
  health: 'healthy',
  class: 'ok',
  ...rest,
});
const found: Found = {
  name: 'cloud',
  endpoint: { id: 10, name: 'prod-vm-1' },
  stackId: 80,
  labelled: true,
  hostIsKnown: true,
} as Found;

let nowMs: number;
let state: ServiceState;
let target: Found;
let wakes: number;
let looks: number;
let failure: Error | undefined;
let handler: Handler;

function open(publicWake = true) {
  const service: Pick<SpotService, 'resolve' | 'status' | 'wake'> = {
    async resolve({ host, shown }) {
      if (failure !== undefined) throw failure;
      if (host === 'cloud.local') return target;
      throw new HttpError(404, `No service found for referral URL: ${shown}`, { code: 'service_not_found' });
    },
    async status() {
      looks += 1;
      return state;
    },
    async wake() {
      wakes += 1;
      state = { verdict: 'removed', containers: [], inProgress: 'start' };
      return { ...state, action: 'start', finished: false };
    },
  };
  const authenticate = admitVisitors(async ({ headers }) => {
    if (headers['x-api-key'] === 'right') return { name: 'proxy', method: 'api-key' };
    throw new HttpError(401, 'This function needs a known key', {
      code: 'unauthorized',
      headers: { 'WWW-Authenticate': 'Basic' },
    });
  }, publicWake);
  const scope = ({ log, signal }: { log: never; signal: never }) => ({ log, signal, endsAtMs: nowMs + 55_000 });
  const routes = createWakeRoutes({ service, scope: scope as never, now: () => nowMs });
  handler = defineFunction({ authenticate }, createRouter(routes));
}

beforeEach(() => {
  nowMs = Date.parse('2026-11-21T06:00:00Z');
  state = { verdict: 'removed', containers: [] };
  target = found;
  wakes = 0;
  looks = 0;
  failure = undefined;
  open();
});

async function visit(
  headers: Record<string, string> = {},
  url = '/wake?referral_url=https://cloud.local/apps?x=1&y=2',
  method = 'GET',
) {
  const call = makeCall({ method, url, headers: { 'User-Agent': 'Mozilla/5.0 Firefox/140.0', ...headers } });
  const answer = await handler(call.event, call.context);
  const body = String(answer.body ?? '');
  return {
    status: answer.status,
    headers: answer.headers as Record<string, string>,
    body,
    title: /<title>(.*)<\/title>/.exec(body)?.[1],
    text: /<p class="text"[^>]*>([^<]*)/.exec(body)?.[1],
    rows: [...body.matchAll(/<li class="(\w+)"><span>([^<]*)<\/span><b>([^<]*)/g)].map((match) => match.slice(1)),
  };
}

describe('the page', () => {
  test('starts a sleeping service and answers 503 that nobody keeps', async () => {
    const { status, headers, title, text } = await visit();
    expect({ status, title, text, wakes }).toEqual({
      status: 503,
      title: 'Waking cloud',
      text: 'Portainer is creating its containers.',
      wakes: 1,
    });
    expect(headers).toMatchObject({
      'X-Spot-Start': 'starting',
      'Retry-After': '5',
      'Cache-Control': 'no-store',
      'X-Robots-Tag': 'noindex, nofollow',
    });
    expect(headers['Content-Security-Policy']).toMatch(/^default-src 'none'; style-src 'sha256-[^']+'; /);
    expect(headers['Content-Security-Policy']).not.toContain('unsafe');
  });

  test('says of each container what it does', async () => {
    state = {
      verdict: 'starting',
      containers: [
        container('web', { health: 'starting', class: 'starting' }),
        container('web', { state: 'created', health: 'none', class: 'starting' }),
        container('db'),
        container('cache', { health: 'none' }),
        container('migrate', { state: 'exited', class: 'completed' }),
        container('worker', { health: 'unhealthy', class: 'unhealthy' }),
        container('cron', { state: 'paused', class: 'paused' }),
        container('old', { state: 'dead', class: 'broken' }),
      ],
    };
    const { rows, text } = await visit();
    expect(text).toBe('Its containers run and are warming up: 3 of 8 parts ready.');
    expect(rows).toEqual([
      ['good', 'cache', 'running'],
      ['idle', 'cron', 'paused'],
      ['good', 'db', 'healthy'],
      ['good', 'migrate', 'done'],
      ['bad', 'old', 'dead'],
      ['busy', 'web 1', 'warming up'],
      ['busy', 'web 2', 'created'],
      ['bad', 'worker', 'unhealthy'],
    ]);
    expect(wakes).toBe(0);
  });

  test('stays 503 under the visited address when the service is healthy, since the proxy still answers with it', async () => {
    state = { verdict: 'healthy', containers: [container('web')] };
    const { status, headers, title, body } = await visit();
    expect({ status, title, mood: headers['X-Spot-Start'], wakes }).toEqual({
      status: 503,
      title: 'cloud is up',
      mood: 'ready',
      wakes: 0,
    });
    expect(body).toContain('href="https://cloud.local/apps?x=1&amp;y=2"');
  });

  test('tells honestly why a start failed, and does not try again for half a minute', async () => {
    const failed = { code: 'start_failed', message: 'Portainer could not pull <nextcloud>', atMs: nowMs };
    state = { verdict: 'removed', containers: [], failure: failed };
    const { status, headers, title, text, body } = await visit();
    expect({ status, title, text, mood: headers['X-Spot-Start'] }).toEqual({
      status: 503,
      title: 'cloud did not wake up',
      text: 'Portainer could not pull &lt;nextcloud&gt;.',
      mood: 'failed',
    });
    expect(body).toContain('Call call-1');
    expect(body).not.toContain('http-equiv="refresh"');
    expect(wakes).toBe(0);
    nowMs += 30_001;
    expect((await visit()).headers['X-Spot-Start']).toBe('starting');
    expect(wakes).toBe(1);
  });

  test('escapes what comes from outside', async () => {
    target = { ...found, name: '<script>alert(1)</script>' };
    expect((await visit()).body).not.toContain('<script>alert');
    const { body } = await visit({}, '/wake?referral_url=https://cloud.local/"><img%20src=x>');
    expect(body).not.toContain('<img');
  });

  test('is small: one round trip of a new connection carries it, with its style and script', async () => {
    expect(Buffer.byteLength((await visit()).body)).toBeLessThan(14_000);
  });

  test('refreshes itself where scripts are off', async () => {
    expect((await visit()).body).toContain('<noscript><meta http-equiv="refresh" content="5"></noscript>');
  });

  test.each([
    [new UpstreamError('Portainer', 'timeout', 'secret detail'), 'Portainer did not answer in time.'],
    [new UpstreamError('Portainer', 'network', 'secret detail'), 'Portainer could not be reached.'],
    [
      new HttpError(409, 'More than one: a, b', { code: 'ambiguous_service', more: { candidates: ['a'] } }),
      'More than one service answers to this address, so none was started.',
    ],
    [new Error('secret detail'), 'Internal error: the log has the details.'],
  ])('says what is wrong when a call fails: %s', async (error, text) => {
    failure = error;
    const answer = await visit();
    expect(answer).toMatchObject({ status: 503, text });
    expect(answer.body).not.toContain('secret');
  });
});

describe('who starts nothing', () => {
  test.each([
    ['a crawler', { 'User-Agent': 'Mozilla/5.0 (compatible; Googlebot/2.1)' }],
    ['a prefetch', { 'Sec-Purpose': 'prefetch' }],
    ['the page itself', { 'X-Spot-Start': 'poll' }],
  ])('%s: it is told that the service sleeps', async (_, headers) => {
    const { status, title } = await visit(headers);
    expect({ status, title, wakes }).toEqual({ status: 503, title: 'cloud is asleep', wakes: 0 });
  });

  test('HEAD, which gets the head alone', async () => {
    const answer = await visit({}, '/wake?referral_url=https://cloud.local/', 'HEAD');
    expect({ status: answer.status, body: answer.body, wakes }).toEqual({ status: 503, body: '', wakes: 0 });
    expect(answer.headers['X-Spot-Start']).toBe('asleep');
  });

  test('what is sent to a sleeping service', async () => {
    const { status, headers } = await visit({}, '/wake?referral_url=https://cloud.local/', 'POST');
    expect({ status, mood: headers['X-Spot-Start'], wakes }).toEqual({ status: 503, mood: 'asleep', wakes: 0 });
  });

  test('anybody at a service that starts already', async () => {
    for (const verdict of ['starting', 'deploying', 'healthy'] as const) {
      state = { verdict, containers: [] };
      nowMs += 2_000;
      await visit();
    }
    expect(wakes).toBe(0);
  });
});

describe('visitors without a key', () => {
  test('are refused without a dialog for a password where the page is not public', async () => {
    open(false);
    const { status, headers } = await visit();
    expect({ status, wakes }).toEqual({ status: 401, wakes: 0 });
    expect(headers).not.toHaveProperty('WWW-Authenticate');
    expect((await visit({ 'X-Api-Key': 'right' })).status).toBe(503);
    expect(wakes).toBe(1);
  });

  test('wake only what is labelled, and see no difference from what is not there', async () => {
    target = { ...found, labelled: false };
    const unlabelled = await visit();
    const absent = await visit({}, '/wake?referral_url=https://nobody.local/');
    expect(unlabelled).toMatchObject({ status: 404, title: 'Nothing sleeps here' });
    expect(unlabelled.body.replaceAll('cloud.local', '')).toBe(absent.body.replaceAll('nobody.local', ''));
    expect({ wakes, looks }).toEqual({ wakes: 0, looks: 0 });
    expect((await visit({ 'X-Api-Key': 'right' })).status).toBe(503);
    expect(wakes).toBe(1);
  });

  test('do not learn that something is there which its owner has opted out', async () => {
    failure = new HttpError(403, 'Service cloud is not enabled', { code: 'not_enabled' });
    expect(await visit()).toMatchObject({ status: 404, title: 'Nothing sleeps here' });
    expect(await visit({ 'X-Api-Key': 'right' })).toMatchObject({ status: 503, text: 'Service cloud is not enabled.' });
  });

  test('may open the page alone', async () => {
    expect((await visit({}, '/?referral_url=https://cloud.local')).status).toBe(401);
  });

  test('are slowed down one by one, and all together', async () => {
    for (let i = 0; i < 90; i++) await visit({ 'X-Forwarded-For': '203.0.113.7' });
    const { status, headers } = await visit({ 'X-Forwarded-For': '203.0.113.7' });
    expect({ status, wait: headers['Retry-After'], mood: headers['X-Spot-Start'] }).toEqual({
      status: 429,
      wait: '1',
      mood: 'busy',
    });
    expect((await visit({ 'X-Forwarded-For': '203.0.113.8' })).status).toBe(503);
    let refused = 0;
    for (let i = 0; i < 700; i++) if ((await visit({ 'X-Forwarded-For': `10.0.${i}.1` })).status === 429) refused += 1;
    expect(refused).toBeGreaterThan(100);
    expect((await visit({ 'X-Api-Key': 'right' })).status).toBe(503);
  });

  test('cannot start one service again and again', async () => {
    for (let i = 0; i < 5; i++) {
      state = { verdict: 'removed', containers: [] };
      nowMs += 1_500;
      await visit();
    }
    expect(wakes).toBe(1);
  });
});

describe("a browser at the function's own address", () => {
  const url = '/?referral_url=https%3A%2F%2Fcloud.local%2Fapps';
  const key = { 'X-Api-Key': 'right' };

  test('gets the page, and is sent on once the service is healthy', async () => {
    expect((await visit(key, url)).title).toBe('Waking cloud');
    state = { verdict: 'healthy', containers: [container('web')] };
    nowMs += 2_000;
    const { status, headers } = await visit(key, url);
    expect({ status, to: headers.Location }).toEqual({ status: 302, to: 'https://cloud.local/apps' });
  });

  test('is not sent to a host that only sounds like a service', async () => {
    target = { ...found, hostIsKnown: false };
    state = { verdict: 'healthy', containers: [container('web')] };
    const { status, body } = await visit(key, url);
    expect(status).toBe(503);
    expect(body).not.toContain('https://cloud.local');
  });

  test('is told, as ever, that GET alone does nothing', async () => {
    const { status, headers } = await visit(key, '/');
    expect({ status, allow: headers.Allow }).toEqual({ status: 405, allow: 'POST' });
  });
});
