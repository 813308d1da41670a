import { request } from 'node:http';
import { describe, expect, it } from 'vitest';
import createFunction from '../../functions/completion-proxy/index.ts';
import { closeAfterEach, closeLater, startBackend, startProxy } from '../support/proxy-road.ts';
import { callRaw } from '../support/raw-http.ts';
import {
  type Act,
  answerJson,
  chatChunk,
  cut,
  hangUp,
  keepSilent,
  stall,
  streamEvents,
} from '../support/scripted-backend.ts';
import { serveHandler } from '../support/serve.ts';

closeAfterEach();

const chat = (body: object = {}) => ({
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ model: 'm', ...body }),
});
const ask = (proxy: { url: string }, path = '/v1/chat/completions', body: object = {}) =>
  fetch(proxy.url + path, chat(body));
const fine = answerJson(200, { choices: [{ message: { content: 'hi' } }] });
const breakAfterHead: Act = (res) => {
  res.writeHead(200).flushHeaders();
  setTimeout(() => res.destroy(), 20);
};
const busy = answerJson(503, { error: { message: 'busy' } });
const ended = [chatChunk('a'), chatChunk('', 'stop'), 'data: [DONE]\n\n'];

describe('another attempt', () => {
  it.each<[string, Act]>([
    ['500', answerJson(500, {})],
    ['503', busy],
    ['529', answerJson(529, {})],
    ['a connection that breaks before the head', hangUp],
    ['a connection that breaks after the head', breakAfterHead],
    ['a stream that ends empty', streamEvents([])],
  ])('follows %s, with the same body', async (_name, act) => {
    const backend = await startBackend(act, fine);
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai' });
    const answer = await ask(proxy);
    expect([answer.status, await answer.json()]).toMatchObject([200, { choices: [{ message: { content: 'hi' } }] }]);
    expect(answer.headers.get('x-should-retry')).toBeNull();
    expect(backend.calls.map(({ body }) => body.toString())).toEqual(['{"model":"m"}', '{"model":"m"}']);
  });

  it('waits as long as Retry-After asks', async () => {
    const backend = await startBackend(answerJson(429, {}, { 'Retry-After': '0.3' }), fine);
    const proxy = await startProxy({ BACKEND_URL: backend.url });
    const startedAt = performance.now();
    expect((await ask(proxy)).status).toBe(200);
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(295);
  });

  it("gives the caller the backend's own answer where more patience is asked for than we have", async () => {
    const backend = await startBackend(answerJson(429, { error: 'slow down' }, { 'Retry-After': '60' }));
    const proxy = await startProxy({ BACKEND_URL: backend.url });
    const answer = await ask(proxy);
    expect([answer.status, answer.headers.get('retry-after'), await answer.json()]).toEqual([
      429,
      '60',
      { error: 'slow down' },
    ]);
    expect(answer.headers.get('x-should-retry')).toBeNull();
    expect(backend.calls).toHaveLength(1);
    const second = await ask(proxy);
    expect([second.status, Number(second.headers.get('retry-after'))]).toEqual([503, 60]);
    expect(backend.calls).toHaveLength(1);
  });

  it('is not made for ever, and the last answer says so', async () => {
    const backend = await startBackend(busy);
    const proxy = await startProxy({ BACKEND_URL: backend.url });
    const answer = await ask(proxy);
    expect([answer.status, answer.headers.get('x-should-retry'), await answer.json()]).toEqual([
      503,
      'false',
      { error: { message: 'busy' } },
    ]);
    expect(backend.calls).toHaveLength(3);
  });

  it('is told to clients where there is no answer of the backend to pass on', async () => {
    const backend = await startBackend(hangUp);
    const proxy = await startProxy({ BACKEND_URL: backend.url });
    const answer = await ask(proxy);
    expect([answer.status, answer.headers.get('x-should-retry')]).toEqual([502, 'false']);
    expect(await answer.json()).toMatchObject({ error: { code: 'upstream_network' } });
  });

  it.each([400, 401, 404, 422, 501])('does not follow %i', async (status) => {
    const backend = await startBackend(answerJson(status, { error: { code: 'x' } }));
    const proxy = await startProxy({ BACKEND_URL: backend.url });
    expect((await ask(proxy)).status).toBe(status);
    expect(backend.calls).toHaveLength(1);
  });

  it('is for the routes of models and idempotent methods only', async () => {
    const backend = await startBackend(busy);
    const proxy = await startProxy({ BACKEND_URL: backend.url, BREAKER_FAILURES: '0' });
    const times = async (method: string, path: string, body?: string) => {
      const before = backend.calls.length;
      await fetch(proxy.url + path, { method, ...(body === undefined ? {} : { body }) });
      return backend.calls.length - before;
    };
    expect(await times('POST', '/orders', '{}')).toBe(1);
    expect(await times('PATCH', '/orders/1', '{}')).toBe(1);
    expect(await times('GET', '/orders')).toBe(3);
    expect(await times('PUT', '/orders/1', 'x')).toBe(3);
    expect(await times('POST', '/api/embed', '{}')).toBe(3);
    expect(backend.calls.at(-4)?.body.toString()).toBe('x');
  });

  it('is not made with a body that was too large to keep, which arrives whole', async () => {
    const backend = await startBackend(busy);
    const proxy = await startProxy({ BACKEND_URL: backend.url, RETRY_BODY_BYTES: '100' });
    const text = 'x'.repeat(300_000);
    expect((await ask(proxy, undefined, { text })).status).toBe(503);
    expect(backend.calls).toHaveLength(1);
    expect(backend.calls[0]!.body.toString()).toBe(JSON.stringify({ model: 'm', text }));
  });

  it('ends with the caller: nobody is asked for one who left', async () => {
    const backend = await startBackend(answerJson(503, {}, { 'Retry-After': '5' }), fine);
    const proxy = await startProxy({ BACKEND_URL: backend.url });
    const leave = new AbortController();
    const call = fetch(`${proxy.url}/v1/chat/completions`, { ...chat(), signal: leave.signal });
    call.catch(() => {});
    await expect.poll(() => backend.calls.length).toBe(1);
    leave.abort();
    await expect.poll(() => proxy.lines.some((line) => line.includes('"status":499'))).toBe(true);
    expect(backend.calls).toHaveLength(1);
  });
});

describe('the next backend', () => {
  const pair = async (first: Act[], second: Act[], env: Record<string, unknown> = {}, fields: object = {}) => {
    const a = await startBackend(...first);
    const b = await startBackend(...second);
    const BACKENDS = [
      { name: 'a', url: a.url, kind: 'openai', ...fields },
      { name: 'b', url: `${b.url}/base/v1`, kind: 'openai', order: 2, aliases: { m: 'm-of-b' } },
    ];
    return { a, b, proxy: await startProxy({ BACKENDS, RETRIES: '1', ...env }) };
  };

  it('is asked when one stays busy, for the model as it calls it', async () => {
    const { a, b, proxy } = await pair([busy], [fine]);
    expect((await ask(proxy, undefined, { tools: [{ model: 'not this' }] })).status).toBe(200);
    expect(a.calls).toHaveLength(2);
    expect(b.calls[0]!.url).toBe('/base/v1/chat/completions');
    expect(b.calls[0]!.body.toString()).toBe('{"model":"m-of-b","tools":[{"model":"not this"}]}');
    expect(b.calls[0]!.headers['content-length']).toBe(String(b.calls[0]!.body.length));
  });

  it('is asked at once when one is silent', async () => {
    const { a, b, proxy } = await pair([keepSilent], [fine], {}, { timeouts: { first_byte_ms: 60 } });
    expect((await ask(proxy)).status).toBe(200);
    expect([a.calls.length, b.calls.length]).toEqual([1, 1]);
    await expect.poll(() => a.calls[0]!.aborted).toBe(true);
  });

  it('is asked when one dies between its head and its first byte', async () => {
    const { b, proxy } = await pair(
      [streamEvents([], stall)],
      [streamEvents(ended)],
      {},
      { timeouts: { first_byte_ms: 60 } },
    );
    expect(await (await ask(proxy, undefined, { stream: true })).text()).toBe(ended.join(''));
    expect(b.calls).toHaveLength(1);
  });

  it('is never asked after the first byte', async () => {
    const { b, proxy } = await pair([streamEvents([chatChunk('a')], cut)], [fine]);
    expect(await (await ask(proxy, undefined, { stream: true })).text()).toContain('"error"');
    expect(b.calls).toHaveLength(0);
  });

  it('takes the calls while the first one is kept from them, until a probe finds it well', async () => {
    const env = { BREAKER_FAILURES: '2', BREAKER_OPEN_MS: '150', RETRIES: '0' };
    const { a, b, proxy } = await pair([hangUp], [fine], env);
    for (let call = 0; call < 6; call++) expect((await ask(proxy)).status).toBe(200);
    expect([a.calls.length, b.calls.length]).toEqual([2, 6]);
    a.acts.unshift(fine);
    a.acts.length = 1;
    await expect
      .poll(async () => {
        await ask(proxy);
        return a.calls.length;
      })
      .toBeGreaterThan(4);
    expect(b.calls.length).toBeLessThan(60);
  });

  it.each([
    { error: { code: 'context_length_exceeded', message: 'too long' } },
    { type: 'error', error: { type: 'invalid_request_error', message: 'prompt is too long: 9 tokens > 8 maximum' } },
  ])('is asked when the prompt is too long for the first, and only then: %j', async (error) => {
    const { a, b, proxy } = await pair([answerJson(400, error), answerJson(400, { error: 'bad' })], [fine]);
    expect((await ask(proxy)).status).toBe(200);
    expect([a.calls.length, b.calls.length]).toEqual([1, 1]);
    const bad = await ask(proxy);
    expect([bad.status, await bad.json(), b.calls.length]).toEqual([400, { error: 'bad' }, 1]);
    b.acts.splice(0, 1, answerJson(400, { from: 'b', ...error }));
    a.acts.splice(0, 1, answerJson(400, error));
    const both = await ask(proxy);
    expect([both.status, await both.json()]).toEqual([400, { from: 'b', ...error }]);
  });

  it('has the last word: its answer, not the first one', async () => {
    const { proxy } = await pair([busy], [answerJson(429, { from: 'b' })], { RETRIES: '0' });
    const answer = await ask(proxy);
    expect([answer.status, await answer.json()]).toEqual([429, { from: 'b' }]);
  });
});

describe('which backend', () => {
  it('is the one that serves the model, and a wrong name is told the right ones', async () => {
    const a = await startBackend(fine);
    const b = await startBackend(fine);
    const BACKENDS = `
- {name: a, url: "${a.url}", kind: openai, models: [gpt-4o, "o3*"]}
- {name: b, url: "${b.url}", kind: ollama, models: ["llama*"]}
`;
    const proxy = await startProxy({ BACKENDS, MODEL_ALIASES: { fast: 'llama3.3' } });
    for (const model of ['gpt-4o', 'o3-mini', 'llama3:8b', 'fast'])
      expect((await ask(proxy, undefined, { model })).status).toBe(200);
    expect(a.calls).toHaveLength(2);
    expect(b.calls.map(({ body }) => JSON.parse(body.toString()).model)).toEqual(['llama3:8b', 'llama3.3']);
    const wrong = await ask(proxy, undefined, { model: 'gpt-5' });
    expect(wrong.status).toBe(404);
    const { error } = (await wrong.json()) as { error: { code: string; message: string } };
    expect(error.code).toBe('model_not_found');
    expect(error.message).toContain('"gpt-5" is not served here; there is: gpt-4o, llama*, o3*');
  });

  it('is the one that serves the path', async () => {
    const openai = await startBackend(fine);
    const anthropic = await startBackend(fine);
    const ollama = await startBackend(fine);
    const files = await startBackend(fine);
    const BACKENDS = [
      { name: 'openai', url: openai.url, kind: 'openai' },
      { name: 'anthropic', url: anthropic.url, kind: 'anthropic' },
      { name: 'ollama', url: ollama.url, kind: 'ollama', order: 2 },
      { name: 'files', url: files.url, kind: 'plain', paths: ['/files/*'] },
    ];
    const proxy = await startProxy({ BACKENDS });
    for (const path of ['/v1/chat/completions', '/v1/messages', '/api/chat', '/files/a']) await ask(proxy, path);
    expect([openai, anthropic, ollama, files].map(({ calls }) => calls.map(({ url }) => url))).toEqual([
      ['/v1/chat/completions'],
      ['/v1/messages'],
      ['/api/chat'],
      ['/files/a'],
    ]);
  });

  it('is not told by a body that names two models', async () => {
    const backend = await startBackend(fine);
    const proxy = await startProxy({ BACKEND_URL: backend.url });
    const body = '{"model":"cheap","Model":"dear"}';
    const answer = await fetch(`${proxy.url}/v1/chat/completions`, { method: 'POST', body });
    expect([answer.status, await answer.json()]).toMatchObject([400, { error: { code: 'ambiguous_body' } }]);
    expect(backend.calls).toHaveLength(0);
  });

  it('is the least busy one among equals', async () => {
    const a = await startBackend(keepSilent);
    const b = await startBackend(keepSilent);
    const BACKENDS = [a, b].map(({ url }, index) => ({ name: `b${index}`, url, kind: 'openai', weight: index + 1 }));
    const proxy = await startProxy({ BACKENDS });
    const leave = new AbortController();
    for (let call = 1; call <= 9; call++) {
      fetch(`${proxy.url}/v1/chat/completions`, { ...chat(), signal: leave.signal }).catch(() => {});
      await expect.poll(() => a.calls.length + b.calls.length).toBe(call);
    }
    leave.abort();
    expect([a.calls.length, b.calls.length]).toEqual([3, 6]);
  });

  it('gets its own credential and never the one of another', async () => {
    const a = await startBackend(busy);
    const b = await startBackend(fine);
    const BACKENDS = [
      { name: 'a', url: a.url, kind: 'openai', credential: 'a-key' },
      { name: 'b', url: b.url, kind: 'anthropic', credential: 'b-key', order: 2 },
    ];
    const proxy = await startProxy({ BACKENDS, A_KEY: 'sk-a', B_KEY: 'sk-b', RETRIES: '0' });
    await fetch(`${proxy.url}/v1/chat/completions`, { ...chat(), headers: { Authorization: 'Bearer mine' } });
    await fetch(`${proxy.url}/v1/messages`, { ...chat(), headers: { 'X-Api-Key': 'mine' } });
    expect(a.calls[0]!.headers.authorization).toBe('Bearer sk-a');
    expect(b.calls[0]!.headers['x-api-key']).toBe('sk-b');
    expect(b.calls[0]!.rawHeaders.join()).not.toMatch(/mine|sk-a/);
  });
});

describe('a stream that breaks', () => {
  const through = async (path: string, act: Act, env: Record<string, unknown> = {}) => {
    const backend = await startBackend(act);
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai', ...env });
    return (await ask(proxy, path, { stream: true })).text();
  };
  const lost = 'The backend could not be reached';

  it("ends with an event that OpenAI's clients throw", async () => {
    const text = await through('/v1/chat/completions', streamEvents([chatChunk('a')], cut));
    const error = { message: lost, type: 'server_error', param: null, code: 'upstream_network' };
    expect(text).toBe(`${chatChunk('a')}data: ${JSON.stringify({ error })}\n\n`);
  });

  it("ends with an event that Anthropic's clients throw", async () => {
    const start = 'event: message_start\ndata: {"type":"message_start"}\n\n';
    const text = await through('/v1/messages', streamEvents([start], cut), { BACKEND_KIND: 'anthropic' });
    expect(text.slice(start.length)).toMatch(
      /^event: error\ndata: \{"type":"error","error":\{"type":"api_error","message":"/,
    );
  });

  it('ends with an error event of /v1/responses, and of any other event stream', async () => {
    const created = 'event: response.created\ndata: {"type":"response.created"}\n\n';
    expect((await through('/v1/responses', streamEvents([created], cut))).slice(created.length)).toMatch(
      /^event: error\ndata: \{"type":"error","code":"upstream_network"/,
    );
    expect(await through('/events', streamEvents(['data: 1\n\n'], cut), { BACKEND_KIND: 'plain' })).toMatch(
      /^data: 1\n\nevent: error\ndata: \{"error":"The backend could not be reached","code":"upstream_network","call_id":/,
    );
  });

  it('gives the error a line of its own after half an event', async () => {
    const text = await through('/v1/chat/completions', streamEvents([chatChunk('a'), 'data: {"id":"c","obj'], cut));
    expect(text).toContain('"obj\n\ndata: {"error":');
    const lines = await through('/api/chat', streamEvents(['{"done":fal'], cut, 'application/x-ndjson'), {
      BACKEND_KIND: 'ollama',
    });
    expect(lines).toBe(`{"done":fal\n{"error":"${lost}"}\n`);
  });

  it('is seen when it stalls', async () => {
    const text = await through('/v1/chat/completions', streamEvents([chatChunk('a')], stall), {
      BACKEND_IDLE_TIMEOUT_MS: '60',
    });
    expect(text).toContain('"code":"upstream_timeout"');
  });

  it('is seen when it takes too long altogether', async () => {
    const slow: Act = (res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      const timer = setInterval(() => res.write(chatChunk('a')), 10);
      res.once('close', () => clearInterval(timer));
    };
    expect(await through('/v1/chat/completions', slow, { BACKEND_TOTAL_TIMEOUT_MS: '150' })).toContain(
      'upstream_timeout',
    );
  });

  it('is seen when it ends without its end, for the kinds that have one', async () => {
    const open = streamEvents([chatChunk('a')]);
    expect(await through('/v1/chat/completions', open)).toContain('upstream_invalid_response');
    expect(await through('/v1/chat/completions', open, { BACKEND_KIND: 'plain' })).toBe(chatChunk('a'));
    const line = '{"message":{"content":"a"},"done":false}\n';
    expect(
      await through('/api/chat', streamEvents([line], undefined, 'application/x-ndjson'), { BACKEND_KIND: 'ollama' }),
    ).toBe(`${line}{"error":"The backend gave an answer that could not be understood"}\n`);
  });

  it.each<[string, string, string[]]>([
    ['[DONE]', '/v1/chat/completions', [chatChunk('a'), 'data: [DONE]\n\n']],
    ['[DONE] in pieces', '/v1/chat/completions', [chatChunk('a'), 'data: [DO', 'NE]', '\n\n']],
    ['a finish reason', '/v1/chat/completions', [chatChunk('a', 'stop')]],
    ["the backend's own error", '/v1/chat/completions', [chatChunk('a'), 'data: {"error":{"message":"x"}}\n\n']],
    ['message_stop', '/v1/messages', ['event: message_stop\ndata: {"type":"message_stop"}\n\n']],
    [
      'response.completed',
      '/v1/responses',
      [`event: response.completed\ndata: {"type":"response.completed","x":"${'y'.repeat(9_000)}"}\n\n`],
    ],
    [
      'response.completed in pieces',
      '/v1/responses',
      ['event: response.completed\ndata: {"type":"response.com', `pleted","x":"${'y'.repeat(9_000)}"}\n\n`],
    ],
  ])('is none when it ends with %s', async (_name, path, pieces) => {
    expect(await through(path, streamEvents(pieces))).toBe(pieces.join(''));
  });

  it('is none because a model speaks of the end', async () => {
    const pieces = [chatChunk('data: [DONE] and "finish_reason":"stop"')];
    expect(await through('/v1/chat/completions', streamEvents(pieces))).toContain('upstream_invalid_response');
  });
});

describe('a silent stream', () => {
  const ping = ': ping\n\n';
  const later =
    (ms: number, act: Act): Act =>
    (res, call) =>
      void setTimeout(() => act(res, call), ms);
  const streamed = async (env: Record<string, unknown>, body: object = { stream: true }) => {
    const proxy = await startProxy({ SSE_PING_S: '0.05', ...env });
    const answer = await ask(proxy, undefined, body);
    return { answer, text: await answer.text() };
  };

  it('is filled with comments before the first byte, and then passed on', async () => {
    const backend = await startBackend(later(180, streamEvents(ended)));
    const { answer, text } = await streamed({ BACKEND_URL: backend.url });
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
    expect(text.startsWith(ping + ping)).toBe(true);
    expect(text.replaceAll(ping, '')).toBe(ended.join(''));
  });

  it('is filled between two events, never inside one', async () => {
    const [first, ...rest] = ended;
    const act: Act = (res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      res.write(first);
      setTimeout(() => res.write(rest[0]!.slice(0, 20)), 130);
      setTimeout(() => res.end(rest.join('').slice(20)), 300);
    };
    const backend = await startBackend(act);
    const { text } = await streamed({ BACKEND_URL: backend.url });
    expect(text.startsWith(first + ping)).toBe(true);
    expect(text.replaceAll(ping, '')).toBe(ended.join(''));
  });

  it('can still be answered by another attempt after a comment', async () => {
    const backend = await startBackend(later(120, busy), later(60, hangUp), streamEvents(ended));
    const { text } = await streamed({ BACKEND_URL: backend.url });
    expect(text.replaceAll(ping, '')).toBe(ended.join(''));
    expect(backend.calls).toHaveLength(3);
  });

  it("can still be answered by another attempt after the backend's own comments", async () => {
    const backend = await startBackend(streamEvents([': WAITING\n\n', ': WAITING\n\n'], cut), streamEvents(ended));
    const { text } = await streamed({ BACKEND_URL: backend.url, SSE_PING_S: '0' });
    expect(text).toBe(`: WAITING\n\n: WAITING\n\n${ended.join('')}`);
  });

  it('tells what failed after a comment by an event', async () => {
    const refused = later(120, answerJson(400, { error: { message: 'too long', code: 'context_length' } }));
    const backend = await startBackend(refused);
    const { answer, text } = await streamed({ BACKEND_URL: backend.url });
    expect(answer.status).toBe(200);
    expect(text.replaceAll(ping, '')).toMatch(/^data: \{"error":\{"message":"too long",.*\}\}\n\n$/);
    const dead = await startBackend(later(120, hangUp));
    const late = await streamed({ BACKEND_URL: dead.url, RETRIES: '0' });
    expect(late.text.replaceAll(ping, '')).toContain('"code":"upstream_network"');
  });

  it('gives a whole answer as one event where the backend does not stream', async () => {
    const backend = await startBackend(later(120, answerJson(200, { whole: true })));
    const { text } = await streamed({ BACKEND_URL: backend.url });
    expect(text.replaceAll(ping, '')).toBe('data: {"whole":true}\n\n');
  });

  it('lets a whole answer come slowly, as long as something comes', async () => {
    const slow: Act = (res) => {
      res.writeHead(200, { 'Content-Type': 'application/json' });
      const letters = [...'{"slow":1}'];
      const timer = setInterval(() => {
        res.write(letters.shift()!);
        if (letters.length > 0) return;
        clearInterval(timer);
        res.end();
      }, 60);
    };
    const backend = await startBackend(later(120, slow));
    const { text } = await streamed({ BACKEND_URL: backend.url, BACKEND_IDLE_TIMEOUT_MS: '300' });
    expect(text.replaceAll(ping, '')).toBe('data: {"slow":1}\n\n');
  });

  it('stays silent where no stream is asked for', async () => {
    const backend = await startBackend(later(150, fine));
    const { text } = await streamed({ BACKEND_URL: backend.url }, {});
    expect(text).toBe('{"choices":[{"message":{"content":"hi"}}]}');
  });
});

describe('places', () => {
  it('are given in turn, and the queue has an end', async () => {
    const waiting: (() => void)[] = [];
    const backend = await startBackend((res, call) => void waiting.push(() => fine(res, call)));
    const proxy = await startProxy({ BACKEND_URL: backend.url, ALLOW_PARALLEL: 'false', MAX_QUEUE: '1' });
    const first = ask(proxy);
    await expect.poll(() => backend.calls.length).toBe(1);
    const second = ask(proxy);
    await expect.poll(async () => (await ask(proxy)).status).toBe(429);
    const refused = await ask(proxy, '/api/chat');
    expect([refused.status, await refused.json()]).toEqual([429, { error: 'Too many calls wait for this model' }]);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    waiting.shift()!();
    expect((await first).status).toBe(200);
    await expect.poll(() => waiting.length).toBe(1);
    waiting.shift()!();
    expect((await second).status).toBe(200);
    expect(backend.calls).toHaveLength(2);
  });

  it('are not waited for longer than MAX_WAIT_TIME', async () => {
    const backend = await startBackend(keepSilent);
    const proxy = await startProxy({ BACKEND_URL: backend.url, MAX_CONCURRENCY: '1', MAX_WAIT_TIME: '0.05' });
    const leave = new AbortController();
    fetch(`${proxy.url}/v1/chat/completions`, { ...chat(), signal: leave.signal }).catch(() => {});
    await expect.poll(() => backend.calls.length).toBe(1);
    const answer = await ask(proxy);
    expect([answer.status, await answer.json()]).toMatchObject([503, { error: { code: 'queue_timeout' } }]);
    leave.abort();
  });

  it('in the queue are freed by a caller who leaves', async () => {
    const backend = await startBackend(keepSilent, fine);
    const proxy = await startProxy({ BACKEND_URL: backend.url, MAX_CONCURRENCY: '1', MAX_QUEUE: '1' });
    const leave = [new AbortController(), new AbortController()];
    const call = ({ signal }: AbortController) => {
      fetch(`${proxy.url}/v1/chat/completions`, { ...chat(), signal }).catch(() => {});
    };
    call(leave[0]!);
    await expect.poll(() => backend.calls.length).toBe(1);
    call(leave[1]!);
    await expect.poll(async () => (await ask(proxy)).status).toBe(429);
    leave[1]!.abort();
    await expect.poll(() => proxy.lines.filter((line) => line.includes('"status":499')).length).toBe(1);
    const third = ask(proxy);
    leave[0]!.abort();
    expect((await third).status).toBe(200);
    expect(backend.calls).toHaveLength(2);
  });

  it('at a busy backend are not waited for while another one in order is free', async () => {
    const a = await startBackend(keepSilent);
    const b = await startBackend(fine);
    const BACKENDS = [
      { name: 'a', url: a.url, kind: 'openai', max_concurrency: 1 },
      { name: 'b', url: b.url, kind: 'openai', order: 2 },
    ];
    const proxy = await startProxy({ BACKENDS, MAX_QUEUE: '0' });
    const leave = new AbortController();
    fetch(`${proxy.url}/v1/chat/completions`, { ...chat(), signal: leave.signal }).catch(() => {});
    await expect.poll(() => a.calls.length).toBe(1);
    expect((await ask(proxy)).status).toBe(200);
    leave.abort();
  });
});

describe('a caller who leaves', () => {
  const leaveAt = async (act: Act, env: Record<string, unknown>, readFirst: boolean) => {
    const backend = await startBackend(act);
    const proxy = await startProxy({ BACKEND_URL: backend.url, ...env });
    const leave = new AbortController();
    const answer = fetch(`${proxy.url}/v1/chat/completions`, { ...chat({ stream: true }), signal: leave.signal });
    answer.catch(() => {});
    await expect.poll(() => backend.calls.length).toBe(1);
    if (readFirst) await (await answer).body!.getReader().read();
    leave.abort();
    return { backend, proxy };
  };

  it.each([true, false])(
    'lets the work go on where CANCEL_ON_DISCONNECT is false (first byte seen: %s)',
    async (seen) => {
      let finished = false;
      const act: Act = (res) => {
        if (seen) res.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(chatChunk('a'));
        setTimeout(() => {
          for (let piece = 0; piece < 200; piece++) res.write('x'.repeat(10_000));
          res.end(ended.join(''), () => {
            finished = true;
          });
        }, 150);
      };
      const { backend } = await leaveAt(act, { CANCEL_ON_DISCONNECT: 'false', MAX_CONCURRENCY: '1' }, seen);
      await expect.poll(() => finished).toBe(true);
      expect(backend.calls[0]!.aborted).toBe(false);
    },
  );

  it('says nothing of how a backend is', async () => {
    const { backend, proxy } = await leaveAt(streamEvents([chatChunk('a')], stall), { BREAKER_FAILURES: '1' }, true);
    await expect.poll(() => backend.calls[0]!.aborted).toBe(true);
    backend.acts.splice(0, 1, fine);
    expect((await ask(proxy)).status).toBe(200);
  });
});

describe('lists of models', () => {
  it('hold what every backend has, what is set, and the aliases', async () => {
    const list: Act = (res, { url }) => {
      const models = [{ name: 'llama3:8b', model: 'llama3:8b', digest: 'sha', size: 5 }];
      if (url === '/api/tags') answerJson(200, { models })(res, {} as never);
      else
        answerJson(200, {
          data: [{ id: 'llama3:8b', object: 'model', created: 7, owned_by: 'library' }, { id: 'hidden' }],
        })(res, {} as never);
    };
    const a = await startBackend(list);
    const BACKENDS = [
      { name: 'a', url: a.url, kind: 'ollama', models: ['llama*'] },
      { name: 'down', url: 'http://127.0.0.1:9', kind: 'openai', models: ['gpt-4o', 'o3*'] },
    ];
    const proxy = await startProxy({ BACKENDS, MODEL_ALIASES: { fast: 'llama3:8b' } });
    const { data } = (await (await fetch(`${proxy.url}/v1/models`)).json()) as {
      data: { id: string; created: number }[];
    };
    expect(data.map(({ id }) => id)).toEqual(['llama3:8b', 'gpt-4o', 'fast']);
    expect(data[0]).toEqual({ id: 'llama3:8b', object: 'model', created: 7, owned_by: 'library' });
    const { models } = (await (await fetch(`${proxy.url}/api/tags`)).json()) as {
      models: { name: string; digest: string }[];
    };
    expect(models.map(({ name, digest }) => [name, digest])).toEqual([
      ['llama3:8b', 'sha'],
      ['gpt-4o', ''],
      ['fast', 'sha'],
    ]);
    const anthropic = await (
      await fetch(`${proxy.url}/v1/models`, { headers: { 'anthropic-version': '2023-06-01' } })
    ).json();
    expect(anthropic).toMatchObject({ has_more: false, first_id: 'llama3:8b', last_id: 'fast' });
  });

  it("are the backend's own where there is one that serves what it has", async () => {
    const backend = await startBackend(answerJson(200, { object: 'list', data: [], odd: 1 }));
    const proxy = await startProxy({ BACKEND_URL: backend.url });
    expect(await (await fetch(`${proxy.url}/v1/models`)).json()).toEqual({ object: 'list', data: [], odd: 1 });
  });
});

describe('health', () => {
  it('keeps calls from a backend whose check fails, and brings it back', async () => {
    let isWell = false;
    const a = await startBackend((res, call) => {
      if (call.url === '/api/version' && !isWell) busy(res, call);
      else fine(res, call);
    });
    const b = await startBackend(fine);
    const BACKENDS = [
      { name: 'a', url: a.url, kind: 'ollama' },
      { name: 'b', url: b.url, kind: 'openai', order: 2 },
    ];
    const proxy = await startProxy({ BACKENDS, HEALTHCHECK_INTERVAL_S: '0.02', READY_TIMEOUT: '0' });
    const served = async () => {
      const before = a.calls.filter(({ method }) => method === 'POST').length;
      await ask(proxy);
      return a.calls.filter(({ method }) => method === 'POST').length > before ? 'a' : 'b';
    };
    await expect.poll(served).toBe('b');
    expect((await fetch(`${proxy.url}/ready`)).status).toBe(200);
    isWell = true;
    await expect.poll(served).toBe('a');
  });

  it('is not ready while its one backend is not', async () => {
    let isWell = false;
    const backend = await startBackend((res, call) => (isWell ? fine : hangUp)(res, call));
    const proxy = await startProxy({
      BACKEND_URL: backend.url,
      HEALTHCHECK_ENDPOINT: '/well',
      HEALTHCHECK_INTERVAL_S: '0.02',
    });
    await expect.poll(async () => (await fetch(`${proxy.url}/ready`)).status).toBe(503);
    isWell = true;
    await expect.poll(async () => (await fetch(`${proxy.url}/ready`)).status, { timeout: 5_000 }).toBe(200);
    expect(backend.calls[0]!.url).toBe('/well');
  });
});

it.each<[string, Buffer, string[]]>([
  ['of ASCII', Buffer.from('{"text": "plain"}'), ['X-Name', 'plain']],
  ['of ASCII under a head that is not', Buffer.from('{"text": "plain"}'), ['X-Name', 'caf\u00e9 \u00fc']],
  ['of UTF-8', Buffer.from('{"text": "caf\u00e9 🙂"}'), ['X-Name', 'plain']],
  ['that is no text', Buffer.from([0, 0xff, 0xfe, 0x80]), ['X-Name', 'caf\u00e9']],
  ['that is empty', Buffer.alloc(0), ['X-Name', 'plain']],
  ['that is long', Buffer.alloc(40_000, 'a'), ['X-Name', 'plain']],
])('passes on a short answer %s byte for byte', async (_name, body, headers) => {
  const backend = await startBackend((res) => {
    res
      .writeHead(200, [...headers, 'Content-Type', 'application/json', 'Content-Length', String(body.length)])
      .end(body);
  });
  const proxy = await startProxy({ BACKEND_URL: backend.url });
  const answer = await callRaw(proxy.url, { method: 'POST', target: '/v1/x', headers: [], body: [Buffer.from('{}')] });
  expect(answer.body.equals(body)).toBe(true);
  expect(answer.headers.filter(([name]) => name === 'X-Name')).toEqual([headers]);
  expect(answer.headers.filter(([name]) => name.toLowerCase() === 'content-length')).toHaveLength(1);
});

it('passes trailers on', async () => {
  const backend = await startBackend((res) => {
    res.writeHead(200, { Trailer: 'X-Sum', 'Content-Type': 'text/plain' });
    res.write('body');
    res.addTrailers({ 'X-Sum': '42' });
    res.end();
  });
  const handler = await createFunction({ AUTH: 'none', BACKEND_URL: backend.url });
  let trailers: unknown;
  const proxy = await serveHandler(async (event, context) => {
    const answer = await handler(event, context);
    (answer.body as NodeJS.ReadableStream).once('end', () => {
      trailers = answer.trailers?.();
    });
    return answer;
  });
  closeLater(async () => {
    await proxy.close();
    await handler.close?.();
  });
  await new Promise<void>((resolve) => {
    request(`${proxy.url}/x`, (res) => res.resume().once('end', resolve)).end();
  });
  expect(trailers).toEqual({ 'X-Sum': '42' });
});
