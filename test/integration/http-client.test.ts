import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHttpClient } from '#shared/clients/http.ts';
import { type Fault, type Sandbox, sendJson, startSandbox } from '../../sandbox/server.ts';

let upstream: Sandbox;
let waits: number[];
beforeEach(async () => {
  waits = [];
  upstream = await startSandbox({
    name: 'upstream',
    handle: ({ res, path, json, headers }) => {
      if (path === '/moved') return void res.writeHead(302, { Location: 'http://127.0.0.1:1/' }).end();
      const { authorization, 'x-api-key': key } = headers;
      if (path === '/echo') return sendJson(res, 403, { error: `${authorization} and ${key} are no keys` });
      if (path === '/echo-page') return void res.writeHead(200).end(`<p>${authorization} and ${key}</p>`);
      if (path === '/missing') return sendJson(res, 404, { message: 'no such thing' });
      sendJson(res, 200, { path, json: json ?? null, padding: 'x'.repeat(1000) });
    },
  });
});
afterEach(() => upstream.close());

const client = (options: { timeoutMs?: number; maxResponseBytes?: number } = {}) =>
  createHttpClient({
    service: 'Upstream',
    baseUrl: upstream.url,
    headers: () => ({ Authorization: 'Bearer top-secret' }),
    timeoutMs: 2_000,
    advice: { 401: 'check UPSTREAM_KEY' },
    sleep: async (ms) => {
      waits.push(ms);
    },
    ...options,
  });

const strike = (fault: Fault) => upstream.faults.push(fault);

describe('the HTTP client', () => {
  it('sends JSON, the query and its credential', async () => {
    const { body } = await client().requestJson({
      method: 'POST',
      path: '/a',
      query: { x: 'a b', none: undefined },
      json: { a: 1 },
    });
    expect(body).toMatchObject({ path: '/a', json: { a: 1 } });
    expect(upstream.ledger[0]).toMatchObject({ query: '?x=a+b', headers: { authorization: '[present]' } });
  });

  it.each([
    ['503', { kind: 'status', status: 503, times: 2 }],
    ['a lost connection', { kind: 'reset', times: 2 }],
  ] as const)('tries an idempotent call again after %s', async (_, fault) => {
    strike(fault);
    expect((await client().requestJson({ path: '/a' })).status).toBe(200);
    expect(upstream.ledger).toHaveLength(3);
    expect(waits).toHaveLength(2);
  });

  it('waits as long as Retry-After says', async () => {
    strike({ kind: 'rate-limit', retryAfterS: 7, times: 1 });
    await client().request({ path: '/a' });
    expect(waits).toEqual([7000]);
  });

  it('gives up at once on a Retry-After beyond its patience', async () => {
    strike({ kind: 'rate-limit', retryAfterS: 3600 });
    await expect(client().request({ path: '/a' })).rejects.toMatchObject({ failure: 'status', status: 429 });
    expect(upstream.ledger).toHaveLength(1);
  });

  it('never repeats a POST by itself', async () => {
    strike({ kind: 'status', status: 503 });
    await expect(client().request({ method: 'POST', path: '/a', json: {} })).rejects.toMatchObject({ status: 503 });
    expect(upstream.ledger).toHaveLength(1);
  });

  it.each([
    ['timeout', { kind: 'hang' }],
    ['network', { kind: 'reset' }],
    ['network', { kind: 'cut', afterBytes: 50 }],
    ['invalid_response', { kind: 'html' }],
    ['status', { kind: 'status', status: 500 }],
  ] as const)('reports %s for %j and says nothing of the credential', async (failure, fault) => {
    strike(fault);
    const error = await client({ timeoutMs: 150 })
      .requestJson({ path: '/a' })
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({ name: 'UpstreamError', service: 'Upstream', failure });
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('top-secret');
  });

  it('says what to check where a status has an advice', async () => {
    strike({ kind: 'unauthorized' });
    await expect(client().request({ path: '/a' })).rejects.toMatchObject({ status: 401, advice: 'check UPSTREAM_KEY' });
  });

  it('takes a refusal as an answer where the caller accepts it', async () => {
    const accept = (status: number) => status === 404;
    expect(await client().requestJson({ path: '/missing', accept })).toMatchObject({
      status: 404,
      body: { message: 'no such thing' },
    });
  });

  it('keeps its credential out of the error where the upstream repeats it', async () => {
    for (const path of ['/echo', '/echo-page']) {
      const error = await client()
        .requestJson({ path, headers: { 'X-Api-Key': 'another-secret' } })
        .catch((caught: unknown) => caught);
      const told = JSON.stringify(error, Object.getOwnPropertyNames(error));
      expect(told).toContain('[redacted]');
      expect(told).not.toMatch(/top-secret|another-secret/);
    }
  });

  it('follows no redirect', async () => {
    await expect(client().request({ path: '/moved' })).rejects.toMatchObject({ failure: 'status', status: 302 });
  });

  it('stops at once when the caller is gone', async () => {
    strike({ kind: 'hang' });
    const caller = new AbortController();
    const failure = expect(client().request({ path: '/a', signal: caller.signal })).rejects.toMatchObject({
      failure: 'aborted',
    });
    await expect.poll(() => upstream.ledger.length).toBe(1);
    caller.abort();
    await failure;
    await expect.poll(() => upstream.ledger[0]?.aborted).toBe(true);
  });

  it('refuses an answer above its limit', async () => {
    await expect(client({ maxResponseBytes: 100 }).request({ path: '/a' })).rejects.toMatchObject({
      failure: 'invalid_response',
    });
  });
});
