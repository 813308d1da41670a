import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { HttpError, UpstreamError } from '#shared/errors.ts';
import { defineFunction } from '#shared/http/define.ts';
import { alertRoute } from '../../../functions/completion-proxy/alerts/open.ts';
import type { BackendKind } from '../../../functions/completion-proxy/backends/backend.ts';
import { toBackend } from '../../../functions/completion-proxy/backends/make.ts';
import { createUpstream } from '../../../functions/completion-proxy/backends/upstream.ts';
import { createLimits } from '../../../functions/completion-proxy/callers/limits.ts';
import { createGenerate } from '../../../functions/completion-proxy/completion/generate.ts';
import { toErrorBody } from '../../../functions/completion-proxy/dialect.ts';
import { withDoor } from '../../../functions/completion-proxy/door.ts';
import { createProxyHandler } from '../../../functions/completion-proxy/handler.ts';
import { createJournal } from '../../../functions/completion-proxy/journal.ts';
import { createProxyMetrics } from '../../../functions/completion-proxy/metrics/metrics.ts';
import { createCors } from '../../../functions/completion-proxy/own/cors.ts';
import { openApi } from '../../../functions/completion-proxy/own/openapi.ts';
import { createFindRoute, createOwnRoutes } from '../../../functions/completion-proxy/own/routes.ts';
import { createRecordRoutes } from '../../../functions/completion-proxy/records/routes.ts';
import type { RoadAnswer, RoadRequest } from '../../../functions/completion-proxy/road/call.ts';
import { createUiRoutes } from '../../../functions/completion-proxy/ui/routes.ts';
import { endpointsRoute } from '../../../functions/completion-proxy/vast/routes.ts';
import { bodyOf, type CallOptions, makeCall } from '../../support/call.ts';

const defaults = {
  timeouts: { connectMs: 0, firstByteMs: 0, idleMs: 0, totalMs: 0 },
  maxConcurrency: Number.POSITIVE_INFINITY,
  cancelOnDisconnect: true,
  forwardAuthorization: false,
  collectStreamUsage: false,
};

interface Given {
  kind?: BackendKind;
  answer?: (request: RoadRequest) => Partial<RoadAnswer> | Promise<Partial<RoadAnswer>>;
  fallback?: boolean;
  shape?: 'short' | 'prefixed';
  cors?: string[];
  isReady?: boolean;
}

function makeProxy({
  kind = 'ollama',
  answer,
  fallback = true,
  shape = 'short',
  cors: origins = [],
  isReady = true,
}: Given = {}) {
  const asked: RoadRequest[] = [];
  const now = () => new Date(0);
  const clock = () => 5;
  const backend = toBackend({ name: 'b', url: 'http://b', kind }, defaults);
  const upstreams = [
    createUpstream(backend, {
      breaker: { failures: 5, windowMs: 1, openMs: 1 },
      gate: { maxQueue: 1, maxWaitMs: 1 },
      clock,
    }),
  ];
  const road = async (request: RoadRequest): Promise<RoadAnswer> => {
    asked.push(request);
    const given = await answer?.(request);
    const takeBody = () => Buffer.from('ok');
    return {
      status: 200,
      rawHeaders: [],
      takeBody,
      trailers: () => ({}),
      attempts: 1,
      isFinalFailure: false,
      ...given,
    };
  };
  const journal = createJournal({
    logsLines: 100,
    historyLines: 100,
    content: { maxBytes: 1_000, redact: [/sk-\w+/gu] },
    now: () => 0,
  });
  const limits = createLimits({ policies: new Map(), addShared: undefined, now: () => 0 });
  const routes = createOwnRoutes({
    completion: {
      generate: createGenerate({ road, backends: [backend], modelOf: () => 'm' }),
      journal,
      fallback,
      timeoutMs: 60_000,
      now,
      clock,
    },
    models: {
      upstreams,
      find: () => {
        throw new Error('no network');
      },
      modelAliases: new Map(),
      mayUse: () => true,
    },
    health: { isReady: async () => isReady, close() {} },
    records: [
      ...createRecordRoutes({
        history: undefined,
        journal,
        limits,
        metrics: createProxyMetrics(upstreams),
        now: () => 0,
      }),
      ...createUiRoutes({
        history: undefined,
        running: new Set(),
        upstreams,
        limits,
        now: () => 0,
        keepsContent: false,
      }),
      alertRoute({ prove: undefined }, limits),
      endpointsRoute([], { key: () => undefined, consoleUrl: '' }, limits),
    ],
    now,
  });
  const findRoute = createFindRoute(routes, shape);
  const cors = createCors(origins);
  const authenticate = async ({ headers }: { headers: Record<string, unknown> }) => {
    if (headers['x-api-key'] === 'wrong') throw new HttpError(401, 'no', { code: 'unauthorized' });
    return { name: 'anonymous', method: 'none' as const };
  };
  const inner = createProxyHandler({
    upstreams,
    road,
    findRoute,
    hasProxyPrefix: shape === 'short',
    withoutCors: cors !== undefined,
    limits: { headers: () => [] },
  });
  const handler = withDoor(defineFunction({ authenticate, errorBody: toErrorBody }, inner), {
    findRoute,
    cors,
    journal,
  });
  const ask = async (options: CallOptions) => {
    const { event, context, lines } = makeCall(options);
    // makeCall normalizes a target: what the caller sent is what counts here.
    if (options.url !== undefined) event.url = options.url;
    return { response: await handler(event, context), lines };
  };
  return { ask, asked, journal, routes };
}

const jsonBody = (value: unknown) => ({ takeBody: () => Buffer.from(JSON.stringify(value)) });
const completion = (body: unknown, headers = {}) => ({
  method: 'POST',
  url: '/completion',
  body: typeof body === 'string' ? body : JSON.stringify(body),
  headers,
});
const down = () => {
  throw new UpstreamError('Ollama', 'status', 'you said: hush', { status: 500 });
};

async function textOf({ body }: { body?: unknown }): Promise<string> {
  let text = '';
  for await (const chunk of body as Readable) text += chunk;
  return text;
}

describe('POST /completion', () => {
  it.each([...['', 'text', '[]', '[1]', 'null', '{}', '{"prompt":""}', '{"prompt":"  "}', '{"prompt":3}']])(
    'refuses the body %j with 400',
    async (body) => {
      const { response } = await makeProxy().ask(completion(body));
      expect(response.status).toBe(400);
      expect(bodyOf(response)).toMatchObject({
        error: 'Malformed or missing prompt argument',
        code: 'malformed_prompt',
      });
    },
  );

  it('names what else it does not understand', async () => {
    const { response } = await makeProxy().ask(completion({ prompt: 'x', options: { top_p: 'high' }, deadline_ms: 0 }));
    expect([response.status, bodyOf(response)]).toMatchObject([
      400,
      { code: 'bad_request', error: 'Not understood: options.top_p, deadline_ms' },
    ]);
  });

  it('asks in the words of the kind, with model and options', async () => {
    const prompt = { prompt: 'p', model: 'big', options: { max_tokens: 7, temperature: 0.5, stop: '.', mirostat: 1 } };
    const sent = async (kind: BackendKind, answer: unknown) => {
      const { ask, asked } = makeProxy({ kind, answer: () => jsonBody(answer) });
      const { response } = await ask(completion(prompt));
      expect(bodyOf(response)).toEqual({ completion: 'text' });
      let body = '';
      for await (const chunk of asked[0]!.body) body += chunk;
      return { path: asked[0]!.target, ...JSON.parse(body) };
    };
    expect(await sent('ollama', { response: 'text' })).toEqual({
      path: '/api/generate',
      model: 'big',
      stream: false,
      prompt: 'p',
      options: { num_predict: 7, temperature: 0.5, stop: '.', mirostat: 1 },
    });
    expect(await sent('openai', { choices: [{ message: { content: 'text' } }] })).toEqual({
      path: '/v1/chat/completions',
      model: 'big',
      messages: [{ role: 'user', content: 'p' }],
      max_tokens: 7,
      temperature: 0.5,
      stop: '.',
    });
    expect(
      await sent('anthropic', {
        content: [
          { type: 'text', text: 'te' },
          { type: 'text', text: 'xt' },
        ],
      }),
    ).toEqual({
      path: '/v1/messages',
      model: 'big',
      max_tokens: 7,
      messages: [{ role: 'user', content: 'p' }],
      temperature: 0.5,
      stop_sequences: ['.'],
    });
  });

  it('streams events, or lines where only they are accepted, and remembers the whole', async () => {
    const lines = [
      '{"response":"a","done":false}\n{"resp',
      'onse":"b","done":false}\n',
      '{"response":"","done":true}\n',
    ];
    const { ask, journal } = makeProxy({
      answer: () => ({ takeBody: () => Readable.from(lines.map((line) => Buffer.from(line))) }),
    });
    const events = await ask(completion({ prompt: 'p', stream: true }));
    expect(events.response.headers).toMatchObject({ 'Content-Type': 'text/event-stream; charset=utf-8' });
    expect(await textOf(events.response)).toBe(
      'data: {"completion":"a"}\n\ndata: {"completion":"b"}\n\ndata: [DONE]\n\n',
    );
    const ndjson = await ask(completion({ prompt: 'p', stream: true }, { Accept: 'application/x-ndjson' }));
    expect(await textOf(ndjson.response)).toBe(
      '{"completion":"a","done":false}\n{"completion":"b","done":false}\n{"completion":"","done":true}\n',
    );
    expect(journal.history()).toContain('"completion":"ab"');
  });

  it('tells an error inside a stream that has begun, and remembers nothing', async () => {
    const lines = ['{"response":"a","done":false}\n', '{"error":"out of memory"}\n'];
    const { ask, journal } = makeProxy({
      answer: () => ({ takeBody: () => Readable.from(lines.map((line) => Buffer.from(line))) }),
    });
    const { response } = await ask(completion({ prompt: 'p', stream: true }));
    expect(await textOf(response)).toBe(
      'data: {"completion":"a"}\n\nevent: error\ndata: {"error":"The model answered with an error","code":"upstream_status"}\n\n',
    );
    expect(journal.history()).toBe('');
  });

  it('answers the altered prompt without a model, marked, and remembers nothing of it', async () => {
    const { ask, journal } = makeProxy({ kind: 'plain' });
    const { response } = await ask(completion('{"prompt":"Hello"}'));
    expect(bodyOf(response)).toEqual({ completion: 'hElLo' });
    expect(response.headers).toMatchObject({ 'X-Completion-Source': 'fallback', 'X-Request-ID': 'call-1' });
    const streamed = await ask(completion({ prompt: 'Hello', stream: true }));
    expect(await textOf(streamed.response)).toBe('data: {"completion":"hElLo"}\n\ndata: [DONE]\n\n');
    expect(journal.history()).toBe('');
  });

  it('keeps prompt and failure text out of every log', async () => {
    const { ask, journal } = makeProxy({ answer: down });
    const { response, lines } = await ask(completion('{"prompt":"hush"}'));
    expect(response.status).toBe(200);
    expect(journal.logs()).toContain('Error while forwarding to the LLM: status 500');
    expect(journal.logs() + lines.join('')).not.toContain('hush');
  });

  it('remembers what the model answered', async () => {
    const { ask, journal } = makeProxy({ answer: () => jsonBody({ response: 'yes\nno' }) });
    await ask(completion('{"prompt":"ok?"}'));
    expect(journal.history()).toBe(
      '{"timestamp":"1970-01-01T00:00:00.000Z","origin":"127.0.0.1","latency":0,"prompt":"ok?","completion":"yes\\nno","request_id":"call-1"}\n',
    );
  });

  it('lets the call say whether it wants the fallback', async () => {
    const unwanted = makeProxy({ answer: down, fallback: true });
    expect((await unwanted.ask(completion({ prompt: 'x', fallback: false }))).response.status).toBe(502);
    const wanted = makeProxy({ answer: down, fallback: false });
    expect((await wanted.ask(completion({ prompt: 'x', fallback: true }))).response.status).toBe(200);
    expect((await wanted.ask(completion({ prompt: 'x' }))).response.status).toBe(502);
    expect((await makeProxy({ kind: 'plain', fallback: false }).ask(completion({ prompt: 'x' }))).response.status).toBe(
      502,
    );
  });

  it('answers 504 when the deadline of the call passes', async () => {
    const answer = ({ signal }: RoadRequest) =>
      new Promise<never>((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new UpstreamError('The backend', 'aborted', 'gone')));
      });
    const { response } = await makeProxy({ answer, fallback: false }).ask(completion({ prompt: 'x', deadline_ms: 5 }));
    expect(response.status).toBe(504);
  });

  it("passes the caller's own mistakes on instead of falling back", async () => {
    const answer = () => {
      throw new HttpError(404, 'no such model', { code: 'model_not_found' });
    };
    expect((await makeProxy({ answer }).ask(completion({ prompt: 'x', model: 'y' }))).response.status).toBe(404);
  });
});

describe('routes of our own', () => {
  it('have one method and refuse others', async () => {
    const { ask, asked } = makeProxy();
    expect(bodyOf((await ask({ url: '/' })).response)).toEqual({ status: 'ok', time: '1970-01-01T00:00:00.000Z' });
    expect((await ask({ url: '/logs' })).response.body).toContain('Incoming request: GET /logs');
    const { response } = await ask({ url: '/completion' });
    expect([response.status, response.headers]).toMatchObject([405, { Allow: 'POST' }]);
    expect((await ask({ method: 'HEAD', url: '/health' })).response.status).toBe(200);
    expect(asked).toEqual([]);
  });

  it('are open where they tell nothing, and closed where they do', async () => {
    const { ask } = makeProxy();
    const status = async (url: string) => (await ask({ url, headers: { 'X-Api-Key': 'wrong' } })).response.status;
    for (const url of ['/health', '/ready', '/ping', '/_proxy/health']) expect(await status(url)).toBe(200);
    for (const url of ['/', '/logs', '/history', '/_proxy/openapi.json', '/v1/models', '/any'])
      expect(await status(url)).toBe(401);
  });

  it('say 503 on /ready when no backend can be asked', async () => {
    const { response } = await makeProxy({ isReady: false }).ask({ url: '/ready' });
    expect([response.status, bodyOf(response)]).toEqual([503, { status: 'not ready' }]);
  });

  it('win over those of the backend, which are below /proxy', async () => {
    const { ask, asked } = makeProxy();
    await ask({ url: '/proxy/health?a=b%20c' });
    await ask({ method: 'POST', url: '/proxy/completion', body: '{}' });
    expect(asked.map(({ target, path }) => [target, path])).toEqual([
      ['/health?a=b%20c', '/health'],
      ['/completion', '/completion'],
    ]);
  });

  it('are only below /_proxy where they are prefixed', async () => {
    const { ask, asked } = makeProxy({ shape: 'prefixed' });
    for (const url of ['/', '/health', '/completion', '/proxy/x', '/_proxyx']) await ask({ url });
    expect(asked.map(({ target }) => target)).toEqual(['/', '/health', '/completion', '/proxy/x', '/_proxyx']);
    for (const url of ['/_proxy', '/_proxy/', '/_proxy/health', '/_proxy/logs']) {
      expect((await ask({ url })).response.status).toBe(200);
    }
    expect((await ask({ url: '/_proxy/nothing' })).response.status).toBe(404);
    expect(asked).toHaveLength(5);
  });

  it('are the ones of the OpenAPI document, method by method', async () => {
    const { routes, ask } = makeProxy();
    const documented = Object.entries(openApi.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(documented.toSorted()).toEqual(routes.map(({ method, path }) => `${method} ${path}`).toSorted());
    expect(bodyOf((await ask({ url: '/_proxy/openapi.json' })).response)).toEqual(JSON.parse(JSON.stringify(openApi)));
    const isOpen = (path: string) => {
      const operation = Object.values((openApi.paths as Record<string, object>)[path]!)[0] as { security?: unknown[] };
      return operation.security !== undefined;
    };
    for (const route of routes) expect([route.path, isOpen(route.path)]).toEqual([route.path, route.isOpen === true]);
  });
});

describe('pass-through', () => {
  it('takes every other path, raw', async () => {
    const { ask, asked } = makeProxy({ answer: () => ({ status: 201, rawHeaders: ['X-A', '1', 'X-A', '2'] }) });
    const { response } = await ask({ method: 'DELETE', url: '/api/delete?a=b%20c' });
    expect(asked[0]).toMatchObject({ target: '/api/delete?a=b%20c', method: 'DELETE', hasBody: false });
    expect(response.status).toBe(201);
    expect(response.headers).toEqual([
      ...[
        ['X-A', '1'],
        ['X-A', '2'],
        ['X-Request-ID', 'call-1'],
        ['X-Call-Id', 'call-1'],
      ],
    ]);
  });

  it.each(['http://169.254.169.254/latest', 'http://b/health', '*', 'b:443'])('refuses the target %s', async (url) => {
    const { ask, asked } = makeProxy();
    const { event, context } = makeCall({ url: '/' });
    expect([event.url, context.callId]).toEqual(['/', 'call-1']);
    const { response } = await ask({ url });
    expect(response.status).toBe(400);
    expect(asked).toEqual([]);
  });

  it('tells clients not to retry what was retried', async () => {
    const answer = () => ({ status: 503, attempts: 3, isFinalFailure: true });
    const { response } = await makeProxy({ answer }).ask({ method: 'POST', url: '/v1/chat/completions', body: '{}' });
    expect(response.headers).toContainEqual(['x-should-retry', 'false']);
  });

  it('ends a call that goes round in circles', async () => {
    const Via = Array(6).fill('1.1 completion-proxy').join(', ');
    const { ask, asked } = makeProxy();
    expect((await ask({ url: '/x', headers: { Via } })).response.status).toBe(508);
    expect((await ask({ url: '/x', headers: { Via: '1.1 completion-proxy' } })).response.status).toBe(200);
    expect(asked).toHaveLength(1);
  });
});

describe('CORS', () => {
  const preflight = (Origin: string) => ({
    method: 'OPTIONS',
    url: '/v1/chat/completions',
    headers: {
      Origin,
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'authorization',
      'X-Api-Key': 'wrong',
    },
  });

  it('answers a preflight without a key, and refuses the one of another site', async () => {
    const { ask, asked } = makeProxy({ cors: ['https://app.example'] });
    const { response } = await ask(preflight('https://app.example'));
    expect([response.status, response.headers]).toMatchObject([
      204,
      { 'Access-Control-Allow-Origin': 'https://app.example', 'Access-Control-Allow-Headers': 'authorization' },
    ]);
    const other = (await ask(preflight('https://evil.example'))).response;
    expect(other.status).toBe(403);
    expect(JSON.stringify(other.headers)).not.toContain('Allow-Origin');
    expect(asked).toEqual([]);
  });

  it("puts its fields in the place of the backend's", async () => {
    const { ask } = makeProxy({
      cors: ['*'],
      answer: () => ({ rawHeaders: ['Access-Control-Allow-Origin', 'https://b'] }),
    });
    const { response } = await ask({ url: '/x', headers: { Origin: 'https://app.example' } });
    const allowed = (response.headers as [string, string][]).filter(([name]) => name === 'Access-Control-Allow-Origin');
    expect(allowed).toEqual([['Access-Control-Allow-Origin', '*']]);
  });

  it('is the business of the backend where it is not set', async () => {
    const { ask, asked } = makeProxy();
    await ask({
      ...preflight('https://app.example'),
      headers: { Origin: 'x', 'Access-Control-Request-Method': 'POST' },
    });
    expect(asked).toHaveLength(1);
  });
});
