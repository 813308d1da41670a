import { afterEach, describe, expect, it } from 'vitest';
import createFunction from '../../functions/completion-proxy/index.ts';
import { answerJson, startScriptedBackend } from '../support/scripted-backend.ts';
import { serveHandler } from '../support/serve.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const usage = { prompt_tokens: 40, completion_tokens: 20 };

async function start(env: Record<string, string>) {
  const backend = await startScriptedBackend(
    answerJson(200, { id: 'c', model: 'gpt-4o', choices: [{ finish_reason: 'stop' }], usage }),
  );
  closing.push(() => backend.close());
  const proxy = await serveHandler(
    await createFunction({
      FUNCTION_API_KEY: 'alice:a-key\nbob:b-key\nops:o-key',
      BACKEND_URL: backend.url,
      BACKEND_KIND: 'openai',
      HEALTHCHECK_INTERVAL_S: '0',
      ...env,
    }),
  );
  closing.push(() => proxy.close());
  const call = (key: string, path: string, body?: object, headers: Record<string, string> = {}) =>
    fetch(proxy.url + path, {
      headers: { 'X-Api-Key': key, ...headers },
      ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
    });
  const chat = (key: string, model = 'gpt-4o') => call(key, '/v1/chat/completions', { model });
  return { backend, call, chat, url: proxy.url };
}

/** The error of an answer in OpenAI's form. */
const errorOf = async (answer: Response) =>
  ((await answer.json()) as { error: { code: string; message: string } }).error;

const CALLERS = JSON.stringify({
  alice: { models: ['gpt-*'], requests_per_minute: 1000, tokens_per_minute: 100, daily_budget_usd: 1 },
  ops: { admin: true },
});

describe('a key with limits', () => {
  it('is told them with each answer, and refused with Retry-After once they are used up', async () => {
    const { chat, call } = await start({ CALLERS, MODEL_ALIASES: '{}' });
    const first = await chat('a-key');
    expect(first.status).toBe(200);
    expect(first.headers.get('x-ratelimit-limit-requests')).toBe('1000');
    expect(first.headers.get('x-ratelimit-remaining-requests')).toBe('999');
    await first.text();
    await (await chat('a-key')).text();
    const refused = await chat('a-key');
    expect([refused.status, (await errorOf(refused)).code]).toEqual([429, 'token_limit']);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(refused.headers.get('x-ratelimit-remaining-tokens')).toBe('0');
    expect(refused.headers.get('x-ratelimit-reset-tokens')).toBe(`${refused.headers.get('retry-after')}s`);
    expect((await chat('b-key')).status).toBe(200);
    const key = await (await call('a-key', '/_proxy/key')).json();
    expect(key).toMatchObject({
      name: 'alice',
      models: ['gpt-*'],
      tokens_per_minute: { limit: 100, remaining: 0 },
      daily_budget_usd: { limit: '1', spent: '0.0006' },
    });
  });

  it('is told its own limits, and not those that the backend sets to us', async () => {
    const { backend, chat } = await start({ CALLERS });
    const theirs = { 'X-RateLimit-Limit-Requests': '10000', 'x-ratelimit-remaining-tokens': '9999' };
    backend.acts.unshift(answerJson(200, { usage }, theirs), answerJson(200, { usage }, theirs));
    const { headers } = await chat('a-key');
    expect(headers.get('x-ratelimit-limit-requests')).toBe('1000');
    expect(headers.get('x-ratelimit-remaining-tokens')).toBe('100');
    expect((await chat('b-key')).headers.get('x-ratelimit-limit-requests')).toBe('10000');
  });

  it('is charged by a backend of any kind, though it asks for a compressed answer', async () => {
    const { backend, call } = await start({ CALLERS, BACKEND_KIND: 'plain' });
    await (await call('a-key', '/v1/chat/completions', { model: 'gpt-4o' }, { 'Accept-Encoding': 'gzip' })).text();
    expect(backend.calls[0]!.headers['accept-encoding']).toBeUndefined();
    const key = await (await call('a-key', '/_proxy/key')).json();
    expect(key).toMatchObject({ tokens_per_minute: { remaining: 40 } });
  });

  it('reaches its models only', async () => {
    const { chat, call, backend } = await start({ CALLERS });
    const refused = await chat('a-key', 'claude');
    expect([refused.status, (await errorOf(refused)).message]).toEqual([404, expect.stringContaining('gpt-*')]);
    expect((await call('a-key', '/v1/batches', {})).status).toBe(403);
    expect(backend.calls).toEqual([]);
  });

  it('reaches no other model by naming it at the end of a body that is too long to be kept', async () => {
    const { backend, url } = await start({ CALLERS, RETRY_BODY_BYTES: '1000' });
    const ask = (end: string) =>
      fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'X-Api-Key': 'a-key' },
        body: `{"model":"gpt-4o","messages":"${'x'.repeat(500_000)}"${end}`,
      });
    const refused = await ask(',"model":"claude"}');
    expect([refused.status, (await errorOf(refused)).code]).toEqual([400, 'ambiguous_body']);
    expect(backend.calls).toEqual([]);
    expect((await ask('}')).status).toBe(200);
    expect(backend.calls[0]!.body).toHaveLength(500_032);
  });

  it('sees its own calls, and an admin everybody’s', async () => {
    const { chat, call } = await start({ CALLERS });
    await (await chat('a-key')).text();
    await (await chat('b-key')).text();
    const callersOf = async (key: string, query = '') => {
      const answer = await call(key, `/history?format=json&since=1m${query}`);
      const { records } = (await answer.json()) as { records: { caller: string }[] };
      return [...new Set(records.map(({ caller }) => caller))].filter((name) => /alice|bob/.test(name)).toSorted();
    };
    expect(await callersOf('a-key')).toEqual(['alice']);
    expect(await callersOf('a-key', '&caller=bob')).toEqual(['alice']);
    expect(await callersOf('o-key')).toEqual(['alice', 'bob']);
    for (const path of ['/metrics', '/history']) {
      expect((await call('b-key', path)).status).toBe(403);
      expect((await call('o-key', path)).status).toBe(200);
    }
    const metrics = await (await call('o-key', '/metrics')).text();
    expect(metrics).toMatch(
      /completion_proxy_requests_total\{backend="backend",model="gpt-4o",caller="alice",status="200",outcome="ok"\} 1/,
    );
  });
});

describe('the caller’s Authorization', () => {
  it('stays here, and with FORWARD_AUTHORIZATION reaches the backend while our key does not', async () => {
    const closed = await start({});
    await closed.call('a-key', '/x', undefined, { Authorization: 'Digest theirs' });
    expect(closed.backend.calls[0]!.headers.authorization).toBeUndefined();
    const open = await start({ FORWARD_AUTHORIZATION: 'true' });
    expect((await open.call('a-key', '/x', undefined, { Authorization: 'Bearer theirs' })).status).toBe(200);
    expect(open.backend.calls[0]!.headers.authorization).toBe('Bearer theirs');
    expect(open.backend.calls[0]!.rawHeaders.join()).not.toContain('a-key');
    const wrong = await open.call('wrong', '/x', undefined, { Authorization: 'Bearer a-key' });
    expect(wrong.status).toBe(401);
  });

  it('opens our page in a browser all the same: nothing below /_proxy is passed on', async () => {
    const { url, call } = await start({ FORWARD_AUTHORIZATION: 'true' });
    const Authorization = `Basic ${Buffer.from('any:a-key').toString('base64')}`;
    expect((await fetch(`${url}/_proxy/ui`, { headers: { Authorization } })).status).toBe(200);
    expect((await fetch(`${url}/x`, { headers: { Authorization } })).status).toBe(401);
    expect((await call('a-key', '/_proxy/key', undefined, { Authorization: 'Bearer theirs' })).status).toBe(200);
  });
});

it('AUTH=hmac is refused at start', async () => {
  await expect(createFunction({ AUTH: 'hmac', WEBHOOK_SECRET: 's' })).rejects.toThrow(
    'AUTH: takes a comma list of api-key, none',
  );
});

it('tells npm run doctor of each backend, and of the state', async () => {
  const { call, backend } = await start({});
  backend.acts.splice(0, 1, answerJson(200, { data: [] }), answerJson(401, {}));
  const doctor = async () => (await (await call('a-key', '/_proxy/doctor')).json()) as Record<string, unknown>;
  expect(await doctor()).toMatchObject({ durable: false, upstreams: [{ name: 'backend', ok: true }] });
  expect(await doctor()).toMatchObject({
    upstreams: [
      { ok: false, failure: 'answered 401: check its credential', settings: expect.stringContaining('BACKEND_URL') },
    ],
  });
  expect((await call('wrong', '/_proxy/doctor')).status).toBe(401);
});

it('keeps no records with RECORD_CALLS=false, and refuses settings that live on them', async () => {
  const { chat, call } = await start({ RECORD_CALLS: 'false' });
  expect((await chat('a-key')).status).toBe(200);
  expect(await (await call('a-key', '/metrics')).text()).not.toContain('completion_proxy_requests_total{');
  await expect(createFunction({ AUTH: 'none', RECORD_CALLS: 'false', CALLERS })).rejects.toThrow(
    'CALLERS: needs RECORD_CALLS=true',
  );
});
