import { afterEach, describe, expect, it } from 'vitest';
import createFunction from '../../functions/completion-proxy/index.ts';
import { startVastSandbox, type VastSandbox } from '../../sandbox/vast.ts';
import { until } from '../support/bundle-process.ts';
import {
  type Act,
  answerJson,
  hangUp,
  keepSilent,
  startScriptedBackend,
  streamEvents,
} from '../support/scripted-backend.ts';
import { serveHandler } from '../support/serve.ts';
import { freePort, startWorker, vastEnv } from '../support/vast-worker.ts';

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function startBackend(...acts: Act[]) {
  const backend = await startScriptedBackend(...acts);
  closing.push(() => backend.close());
  return backend;
}

async function startSandbox() {
  const sandbox = await startVastSandbox();
  closing.push(() => sandbox.close());
  return sandbox;
}

/** The function, with what it and its calls log. */
async function startProxy(autoscaler: string, env: Record<string, string> = {}) {
  const proxy = await serveHandler(
    await createFunction({
      AUTH: 'none',
      VAST_URL: autoscaler,
      VAST_CONSOLE_URL: autoscaler,
      VAST_ENDPOINT: 'my-endpoint',
      VAST_API_KEY: 'endpoint-key-sandbox',
      VAST_WAIT_S: '0.2',
      SSE_PING_S: '0',
      LOG_LEVEL: 'error',
      ...env,
    }),
  );
  closing.push(() => proxy.close());
  return proxy;
}

async function startFake(sandbox: VastSandbox, id: number, ...acts: Act[]) {
  const worker = await startBackend(...acts);
  sandbox.world.report({ id, mtoken: '', url: worker.url, max_perf: 10, cur_load: 0, loadtime: 1, error_msg: '' });
  return worker;
}

const fine = answerJson(200, { choices: [{ message: { content: 'hi' } }] });
const chat = (url: string, body: object = {}, init: RequestInit = {}) =>
  fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: 'm', ...body }),
    ...init,
    headers: { 'Content-Type': 'application/json', ...init.headers },
  });
const text =
  (status: number, body: string): Act =>
  (res) =>
    void res.writeHead(status).end(body);
const ticket = (url: string) =>
  `{"endpoint": "my-endpoint", "url": ${url}, "cost": 1.0, "reqnum": 1, "request_idx": 1, "signature": "AA=="}`;

describe('an autoscaler that answers', () => {
  it.each<[string, Act, number, string]>([
    ['a page', text(200, '<html>maintenance</html>'), 502, 'upstream'],
    ['nothing', text(200, ''), 502, 'upstream'],
    ['500', text(500, 'boom'), 502, 'upstream'],
    ['404', text(404, '{}'), 502, 'upstream'],
    ['by hanging up', hangUp, 502, 'upstream'],
    ['a list', text(200, '[]'), 503, 'workers_starting'],
    ['null', text(200, 'null'), 503, 'workers_starting'],
    ['an address that is a number', text(200, ticket('5')), 502, 'upstream'],
    ['an address that is none', text(200, ticket('"here"')), 502, 'upstream'],
    ['the address of a file', text(200, ticket('"file:///etc/passwd"')), 502, 'upstream'],
    ['a ticket without a signature', text(200, '{"url": "http://127.0.0.1:9"}'), 502, 'upstream'],
    [
      'with the key that it was sent',
      (res, { headers }) => text(500, `no: ${headers.authorization}`)(res, {} as never),
      502,
      'upstream',
    ],
  ])('%s is answered %i', async (_name, act, status, code) => {
    const autoscaler = await startBackend(act);
    const proxy = await startProxy(autoscaler.url);
    const answer = await chat(proxy.url);
    const body = await answer.text();
    expect(answer.status).toBe(status);
    expect(body).toContain(code === 'upstream' ? 'Vast.ai' : code);
    expect(proxy.lines.join() + body).not.toContain('endpoint-key-sandbox');
    expect((await fetch(`${proxy.url}/v1/files`)).status).toBe(status);
  });

  it('with half a pair of letters breaks nothing', async () => {
    const autoscaler = await startBackend(text(200, ticket('"http://127.0.0.1:9/\\ud800"')));
    const proxy = await startProxy(autoscaler.url);
    expect((await fetch(`${proxy.url}/v1/files`)).status).toBe(502);
    expect(proxy.lines.join()).toContain('ECONNREFUSED');
  });

  it('500 once is asked again', async () => {
    const worker = await startBackend(fine);
    const autoscaler = await startBackend(text(500, ''), hangUp, text(200, ticket(`"${worker.url}"`)));
    const proxy = await startProxy(autoscaler.url);
    expect((await chat(proxy.url)).status).toBe(200);
    expect(autoscaler.calls).toHaveLength(3);
  });
});

describe('workers that start', () => {
  it('do not close the way for those who come later, however many were told to come back', async () => {
    const sandbox = await startSandbox();
    const proxy = await startProxy(sandbox.url);
    for (let call = 0; call < 12; call++) {
      expect((await chat(proxy.url, {}, { headers: { Prefer: 'wait=0' } })).status).toBe(503);
    }
    await startFake(sandbox, 1, fine);
    expect((await chat(proxy.url)).status).toBe(200);
  });

  it('are waited for as long as was asked, and no longer because a worker was lost', async () => {
    const sandbox = await startSandbox();
    const worker = await startFake(sandbox, 1, (res) => {
      sandbox.world.report({ id: 1, mtoken: '', url: '', max_perf: 10, cur_load: 0, loadtime: 0, error_msg: 'lost' });
      res.destroy();
    });
    const proxy = await startProxy(sandbox.url);
    expect((await chat(proxy.url, {}, { headers: { Prefer: 'wait=1' } })).status).toBe(503);
    expect(worker.calls).toHaveLength(1);
  });
});

describe('a worker that refuses', () => {
  const endless: Act = (res) => {
    res.writeHead(503);
    const write = () => !res.destroyed && res.write('x'.repeat(60_000), () => setImmediate(write));
    write();
  };
  it.each<[string, Act]>([
    ['and says nothing more', (res) => void res.writeHead(503, { 'Content-Length': '10' }).flushHeaders()],
    ['at endless length', endless],
  ])('%s is left for another one', async (_name, act) => {
    const sandbox = await startSandbox();
    const first = await startFake(sandbox, 1, act);
    await startFake(sandbox, 2, fine);
    const proxy = await startProxy(sandbox.url);
    expect((await chat(proxy.url)).status).toBe(200);
    await until('it is not listened to any longer', () => first.calls[0]?.aborted || undefined);
  });
});

describe('a caller who writes a ticket into the query', () => {
  it.each([
    'serverless_request_idx=5&a=1',
    'a=1&serverless%5Frequest_idx=5&serverless_cost=0',
    '%73erverless_url=x&a=1',
  ])('as %s has the one that the autoscaler gave', async (query) => {
    const sandbox = await startSandbox();
    const worker = await startFake(sandbox, 1, fine);
    const proxy = await startProxy(sandbox.url);
    expect((await fetch(`${proxy.url}/v1/files?${query}`)).status).toBe(200);
    const seen = new URLSearchParams(worker.calls[0]!.url.split('?')[1]);
    expect(seen.getAll('serverless_request_idx')).toEqual(['1']);
    expect([seen.getAll('serverless_cost'), seen.getAll('serverless_url')]).toEqual([['100.0'], [worker.url]]);
    expect(seen.get('a')).toBe('1');
    const posted = await fetch(`${proxy.url}/v1/chat/completions?${query}`, { method: 'POST', body: '{}' });
    expect([posted.status, worker.calls[1]!.url]).toEqual([200, '/v1/chat/completions?a=1']);
  });
});

describe('a console that answers', () => {
  it.each([
    ['null', 502],
    ['<html>', 502],
    ['{"results": {}}', 502],
    ['{"results": [null, 5, {"id": 1}, {"id": "x", "endpoint_name": "my-endpoint", "api_key": 5}]}', 200],
  ])('%s is answered %i, and calls 502', async (body, status) => {
    const vast = await startBackend(text(200, body));
    const proxy = await startProxy(vast.url, { VAST_API_KEY: '', VAST_ACCOUNT_KEY: 'account-key' });
    expect((await fetch(`${proxy.url}/_proxy/vast/endpoints`)).status).toBe(status);
    expect((await chat(proxy.url)).status).toBe(502);
  });
});

describe('a caller who leaves', () => {
  it.each([
    ['before the first byte', keepSilent],
    ['in the middle of a stream', streamEvents(['data: {"choices":[]}\n\n'], () => {})],
  ])('%s leaves no load at the worker and at the autoscaler', async (_name, act) => {
    const sandbox = await startSandbox();
    const model = await startBackend((res, call) => (call.url === '/health' ? fine : act)(res, call));
    // The autoscaler gives out the address that the worker reports: it is the one on which it listens.
    const port = await freePort();
    const worker = await startWorker({ ...vastEnv(sandbox, 7, port), BACKEND_URL: model.url }, port);
    closing.push(() => worker.close());
    await until('the worker is loaded', () => sandbox.world.workers.get(7)?.isLoaded || undefined);
    const proxy = await startProxy(sandbox.url);
    const gone = new AbortController();
    const answer = chat(proxy.url, { stream: true, max_tokens: 30 }, { signal: gone.signal }).then(
      (response) => response.text(),
      () => 'gone',
    );
    await until('the model works', () => model.calls.find(({ url }) => url !== '/health'));
    expect(sandbox.world.loadOf(7)).toBe(30);
    gone.abort();
    await answer.catch(() => {});
    await until('the model hears of it', () => model.calls.find(({ url }) => url !== '/health')!.aborted || undefined);
    await until('the autoscaler hears of it', () => (sandbox.world.loadOf(7) === 0 ? true : undefined));
    expect(sandbox.world.requests.get(1)!.deletions).toEqual([{ workerId: 7, success: true }]);
  });
});
