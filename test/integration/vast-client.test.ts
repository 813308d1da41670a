import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import createFunction from '../../functions/completion-proxy/index.ts';
import { startVastSandbox, type VastSandbox } from '../../sandbox/vast.ts';
import { until } from '../support/bundle-process.ts';
import { createAuthority, createServerCertificate } from '../support/certificate.ts';
import {
  type Act,
  answerJson,
  chatChunk,
  hangUp,
  startScriptedBackend,
  streamEvents,
} from '../support/scripted-backend.ts';
import { serveHandler } from '../support/serve.ts';

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function startSandbox() {
  const sandbox = await startVastSandbox();
  closing.push(() => sandbox.close());
  return sandbox;
}

/** Something at an address that the sandbox takes for a worker. */
async function startFake(sandbox: VastSandbox, id: number, ...acts: Act[]) {
  const worker = await startScriptedBackend(...acts);
  closing.push(() => worker.close());
  report(sandbox, id, worker.url);
  return worker;
}

const report = (sandbox: VastSandbox, id: number, url: string) =>
  sandbox.world.report({ id, mtoken: '', url, max_perf: 10, cur_load: 0, loadtime: 1, error_msg: '' });

async function startProxy(sandbox: VastSandbox, env: Record<string, string> = {}) {
  const proxy = await serveHandler(
    await createFunction({
      AUTH: 'none',
      VAST_URL: sandbox.url,
      VAST_CONSOLE_URL: sandbox.url,
      VAST_ENDPOINT: 'my-endpoint',
      VAST_API_KEY: sandbox.credentials['vast-api-key'],
      SSE_PING_S: '0',
      ...env,
    }),
  );
  closing.push(() => proxy.close());
  return proxy;
}

const fine = answerJson(200, { choices: [{ message: { content: 'hi' } }] }, { 'X-Worker': 'yes' });
const chat = (url: string, body: object = {}, headers: Record<string, string> = {}) =>
  fetch(`${url}/v1/chat/completions?x=a%20b`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'm', ...body }),
  });
const costs = (sandbox: VastSandbox) => [...sandbox.world.requests.values()].map(({ cost }) => cost);

describe('a call to an endpoint of Vast.ai', () => {
  it('goes to the worker that the autoscaler names, with its ticket as it was written', async () => {
    const sandbox = await startSandbox();
    const worker = await startFake(sandbox, 1, fine);
    const proxy = await startProxy(sandbox);
    const answer = await chat(proxy.url, { max_tokens: 242, seed: 1 }, { 'X-Custom': 'kept', Prefer: 'wait=5' });
    expect([answer.status, answer.headers.get('x-worker'), await answer.json()]).toMatchObject([
      200,
      'yes',
      { choices: [{}] },
    ]);
    const [call] = worker.calls;
    expect(call!.url).toBe('/v1/chat/completions?x=a%20b');
    expect(call!.headers).toMatchObject({ 'x-custom': 'kept', 'content-type': 'application/json' });
    expect([call!.headers.prefer, call!.headers.authorization]).toEqual([undefined, undefined]);
    const text = call!.body.toString();
    expect(text).toContain('"cost": 242.0');
    expect(text).toContain('"payload": {"model":"m","max_tokens":242,"seed":1}}');
    expect(Object.keys(JSON.parse(text).auth_data)).toEqual([
      'cost',
      'endpoint',
      'reqnum',
      'request_idx',
      'signature',
      'url',
    ]);
    const route = sandbox.ledger.find(({ path }) => path === '/route/')!;
    expect([route.headers.authorization, route.body]).toEqual([
      '[present]',
      '{"endpoint": "my-endpoint", "cost": 242}',
    ]);
  });

  it('without a body, and with one that is no JSON, has its ticket in the query', async () => {
    const sandbox = await startSandbox();
    const worker = await startFake(sandbox, 1, fine);
    const proxy = await startProxy(sandbox);
    await fetch(`${proxy.url}/files?a=1`);
    await fetch(`${proxy.url}/upload`, { method: 'POST', body: new Uint8Array([0, 255]) });
    const [get, upload] = worker.calls;
    expect(get!.url).toMatch(/^\/files\?a=1&serverless_cost=100\.0&serverless_endpoint=my-endpoint&serverless_reqnum=/);
    expect(upload!.url).toMatch(/^\/upload\?serverless_cost=100\.0&/);
    expect(upload!.body.toString('hex')).toBe('00ff');
  });

  it('costs what X-Serverless-Cost says, else the most that it makes, else VAST_DEFAULT_COST', async () => {
    const sandbox = await startSandbox();
    await startFake(sandbox, 1, fine);
    const proxy = await startProxy(sandbox, { VAST_DEFAULT_COST: '7' });
    await chat(proxy.url, { max_tokens: 5 }, { 'X-Serverless-Cost': '12.5' });
    await chat(proxy.url, { max_tokens: 5 }, { 'X-Serverless-Cost': 'much' });
    await chat(proxy.url, { parameters: { max_new_tokens: 6 } });
    await chat(proxy.url, { options: { num_predict: 8 } });
    await chat(proxy.url, { steps: 20 });
    await chat(proxy.url);
    expect(costs(sandbox)).toEqual([12.5, 5, 6, 8, 20, 7]);
  });

  it('streams as the worker does, and sees it die in the middle', async () => {
    const sandbox = await startSandbox();
    const ended = [chatChunk('a'), chatChunk('', 'stop'), 'data: [DONE]\n\n'];
    const dying: Act = (res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      res.write(chatChunk('a'), () => setTimeout(() => res.destroy(), 20));
    };
    const worker = await startFake(sandbox, 1, streamEvents(ended), dying);
    const proxy = await startProxy(sandbox);
    expect(await (await chat(proxy.url, { stream: true })).text()).toBe(ended.join(''));
    const cut = await (await chat(proxy.url, { stream: true })).text();
    expect(cut).toContain(chatChunk('a'));
    expect(cut).toContain('"error"');
    expect(worker.calls).toHaveLength(2);
  });

  it.each<[string, Act]>([
    ['is lost', hangUp],
    ['is full', answerJson(429, {})],
    ['has no backend', answerJson(500, {})],
  ])('goes to another worker with the same number when the first %s', async (_name, act) => {
    const sandbox = await startSandbox();
    await startFake(sandbox, 1, act);
    const second = await startFake(sandbox, 2, fine);
    const proxy = await startProxy(sandbox);
    expect((await chat(proxy.url)).status).toBe(200);
    expect(second.calls).toHaveLength(1);
    expect([...sandbox.world.requests.values()].map(({ given }) => given.map(({ workerId }) => workerId))).toEqual([
      [1, 2],
    ]);
  });

  it('that no worker takes gets the last answer, after four of them', async () => {
    const sandbox = await startSandbox();
    const worker = await startFake(sandbox, 1, answerJson(429, { error: 'full' }));
    const proxy = await startProxy(sandbox);
    const answer = await chat(proxy.url);
    expect([answer.status, await answer.json()]).toEqual([429, { error: 'full' }]);
    expect(worker.calls).toHaveLength(4);
    expect(costs(sandbox)).toHaveLength(1);
  });
});

describe('workers that start', () => {
  it('are waited for', async () => {
    const sandbox = await startSandbox();
    const proxy = await startProxy(sandbox);
    const answer = chat(proxy.url);
    await until('the autoscaler is asked', () => sandbox.ledger[0]);
    await startFake(sandbox, 1, fine);
    expect((await answer).status).toBe(200);
    expect(sandbox.ledger.filter(({ path }) => path === '/route/').length).toBeGreaterThan(1);
  });

  it.each([
    ['VAST_WAIT_S', { VAST_WAIT_S: '0.1' }, {}],
    ['Prefer', {}, { Prefer: 'respond-async, wait=0' }],
  ])('are waited for as long as %s says: then 503 with Retry-After', async (_name, env, headers) => {
    const sandbox = await startSandbox();
    const proxy = await startProxy(sandbox, env as Record<string, string>);
    const answer = await chat(proxy.url, {}, headers as Record<string, string>);
    expect([answer.status, answer.headers.get('retry-after'), await answer.json()]).toMatchObject([
      503,
      '15',
      { error: { code: 'workers_starting' } },
    ]);
    expect(costs(sandbox)).toEqual([]);
  });

  it('are not asked about any longer when the caller has left', async () => {
    const sandbox = await startSandbox();
    const proxy = await startProxy(sandbox);
    const gone = new AbortController();
    const answer = fetch(`${proxy.url}/v1/models`, { signal: gone.signal }).catch(() => 'gone');
    await until('the autoscaler is asked', () => sandbox.ledger[0]);
    gone.abort();
    expect(await answer).toBe('gone');
    await until('the call is over', () => proxy.lines.find((line) => line.includes('499')));
    await startFake(sandbox, 1, fine);
    expect(costs(sandbox)).toEqual([]);
  });

  it('give way to the next backend in order', async () => {
    const sandbox = await startSandbox();
    const other = await startScriptedBackend(fine);
    closing.push(() => other.close());
    const proxy = await startProxy(sandbox, {
      VAST_WAIT_S: '0',
      BACKENDS: JSON.stringify([
        { name: 'rented', kind: 'vast', endpoint: 'my-endpoint' },
        { name: 'cloud', kind: 'openai', url: other.url, order: 2, healthcheck: false },
      ]),
    });
    expect((await chat(proxy.url)).status).toBe(200);
    expect(other.calls.length).toBeGreaterThan(0);
  });
});

describe('keys', () => {
  it("of an account find the endpoint's, and show the endpoints without any key", async () => {
    const sandbox = await startSandbox();
    await startFake(sandbox, 1, fine);
    const account = { VAST_API_KEY: '', VAST_ACCOUNT_KEY: sandbox.credentials['vast-account-key'] };
    const proxy = await startProxy(sandbox, account);
    expect((await chat(proxy.url)).status).toBe(200);
    expect((await chat(proxy.url)).status).toBe(200);
    expect(sandbox.ledger.filter(({ path }) => path === '/api/v0/endptjobs/')).toHaveLength(1);
    const text = await (await fetch(`${proxy.url}/_proxy/vast/endpoints`)).text();
    expect(JSON.parse(text)).toEqual({
      endpoints: [
        { id: 11, name: 'my-endpoint', backends: ['vast'] },
        { id: 12, name: 'größe/ß', backends: [] },
      ],
    });
    expect(text).not.toContain('key');
    const renamed = sandbox.world.endpoints[0]!;
    sandbox.world.endpoints[0] = { ...renamed, apiKey: 'rotated' };
    expect((await chat(proxy.url)).status).toBe(200);
  });

  it("show the account's endpoints to admins only", async () => {
    const sandbox = await startSandbox();
    const proxy = await startProxy(sandbox, {
      AUTH: 'api-key',
      FUNCTION_API_KEY: 'boss:key-of-the-boss\nalice:key-of-alice',
      CALLERS: '{"boss": {"admin": true}}',
      VAST_ACCOUNT_KEY: sandbox.credentials['vast-account-key'],
    });
    const ask = async (key: string) =>
      (await fetch(`${proxy.url}/_proxy/vast/endpoints`, { headers: { Authorization: `Bearer ${key}` } })).status;
    expect([await ask('key-of-the-boss'), await ask('key-of-alice'), await ask('none')]).toEqual([200, 403, 401]);
  });

  it('that are wrong are the operator’s to mend; without one there is no start', async () => {
    const sandbox = await startSandbox();
    await startFake(sandbox, 1, fine);
    const proxy = await startProxy(sandbox, { VAST_API_KEY: 'wrong' });
    const answer = await chat(proxy.url);
    expect([answer.status, JSON.stringify(await answer.json())]).toEqual([
      502,
      expect.stringContaining('check vast-api-key'),
    ]);
    expect((await fetch(`${proxy.url}/_proxy/vast/endpoints`)).status).toBe(404);
    await expect(startProxy(sandbox, { VAST_API_KEY: '' })).rejects.toThrow('create the secret vast-api-key');
    const nameless = JSON.stringify([{ name: 'v', kind: 'vast' }]);
    await expect(startProxy(sandbox, { BACKENDS: nameless })).rejects.toThrow('BACKENDS[0].endpoint');
  });
});

describe('POST /completion', () => {
  const completion = (url: string, body: object) =>
    fetch(`${url}/completion`, { method: 'POST', body: JSON.stringify(body) });

  it('asks a worker as it asks any other model', async () => {
    const sandbox = await startSandbox();
    const worker = await startFake(sandbox, 1, fine);
    const proxy = await startProxy(sandbox, { COMPLETION_MODEL: 'm' });
    const answer = await completion(proxy.url, { prompt: 'hello', options: { max_tokens: 30 } });
    expect([answer.status, await answer.json()]).toEqual([200, { completion: 'hi' }]);
    expect(worker.calls[0]!.url).toBe('/v1/chat/completions');
    expect(JSON.parse(worker.calls[0]!.body.toString())).toMatchObject({
      auth_data: { endpoint: 'my-endpoint' },
      payload: { model: 'm', messages: [{ role: 'user', content: 'hello' }], max_tokens: 30 },
    });
    expect(costs(sandbox)).toEqual([30]);
  });

  it('streams, and without a worker gives the fallback or says when to come back', async () => {
    const sandbox = await startSandbox();
    const proxy = await startProxy(sandbox, { VAST_WAIT_S: '0', COMPLETION_FALLBACK: 'false' });
    expect((await completion(proxy.url, { prompt: 'hello' })).status).toBe(503);
    const lenient = await startProxy(sandbox, { VAST_WAIT_S: '0' });
    expect(await (await completion(lenient.url, { prompt: 'hello' })).json()).toEqual({ completion: 'hElLo' });
    await startFake(sandbox, 1, streamEvents([chatChunk('a'), chatChunk('b', 'stop'), 'data: [DONE]\n\n']));
    const text = await (await completion(proxy.url, { prompt: 'hello', stream: true })).text();
    expect(text).toContain('data: {"completion":"a"}');
    expect(text).toContain('data: [DONE]');
  });
});

describe('npm run doctor', () => {
  async function ask(sandbox: VastSandbox, env: Record<string, string> = {}) {
    const proxy = await startProxy(sandbox, env);
    const { upstreams } = (await (await fetch(`${proxy.url}/_proxy/doctor`)).json()) as {
      upstreams: { ok: boolean; failure?: string }[];
    };
    return upstreams.map(({ ok, failure }) => failure ?? ok);
  }

  it("asks for the autoscaler's key, and an account for the endpoint; never for a worker", async () => {
    const sandbox = await startSandbox();
    const account = { VAST_ACCOUNT_KEY: sandbox.credentials['vast-account-key'] };
    expect(await ask(sandbox)).toEqual([true]);
    expect(await ask(sandbox, account)).toEqual([true]);
    expect(await ask(sandbox, { ...account, VAST_API_KEY: '' })).toEqual([true]);
    expect(sandbox.ledger.filter(({ path }) => path === '/route/')).toEqual([]);
  });

  it('says what to change', async () => {
    const sandbox = await startSandbox();
    const account = { VAST_ACCOUNT_KEY: sandbox.credentials['vast-account-key'] };
    expect(await ask(sandbox, { VAST_URL: 'http://127.0.0.1:9' })).toEqual(['network: check VAST_URL']);
    expect(await ask(sandbox, { VAST_URL: `${sandbox.url}/other` })).toEqual(['answered 404: check VAST_URL']);
    expect(await ask(sandbox, { VAST_ACCOUNT_KEY: 'wrong' })).toEqual(['answered 401: check vast-account-key']);
    expect(await ask(sandbox, { ...account, VAST_API_KEY: 'wrong' })).toEqual([
      'invalid_response: it is not the key of the endpoint: check vast-api-key',
    ]);
    expect(await ask(sandbox, { ...account, VAST_ENDPOINT: 'other' })).toEqual([
      'invalid_response: the account has no endpoint of that name: check VAST_ENDPOINT, or endpoint in BACKENDS',
    ]);
  });
});

describe("workers' certificates", () => {
  it("are Vast's own: they are trusted where VAST_CA_FILE says so, and else not", async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vast-ca-'));
    closing.push(() => rmSync(folder, { recursive: true }));
    const authority = createAuthority();
    writeFileSync(join(folder, 'ca.pem'), authority.cert);
    const worker = createTlsServer(createServerCertificate(authority), (_request, response) => response.end('{}'));
    await new Promise<void>((resolve) => worker.listen(0, '127.0.0.1', resolve));
    closing.push(() => {
      worker.close();
      worker.closeAllConnections();
    });
    const sandbox = await startSandbox();
    report(sandbox, 1, `https://127.0.0.1:${(worker.address() as AddressInfo).port}`);
    const trusting = await startProxy(sandbox, { VAST_CA_FILE: join(folder, 'ca.pem') });
    expect((await chat(trusting.url)).status).toBe(200);
    const wary = await startProxy(sandbox);
    expect((await chat(wary.url)).status).toBe(502);
    await expect(startProxy(sandbox, { VAST_CA_FILE: join(folder, 'none') })).rejects.toThrow(
      'VAST_CA_FILE: cannot be read',
    );
  });
});
