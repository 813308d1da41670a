import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { UpstreamError } from '#shared/errors.ts';
import { defineFunction } from '#shared/http/define.ts';
import type { Diagnosis } from '#shared/http/doctor.ts';
import type { FunctionContext, FunctionEvent } from '#shared/http/function.ts';
import { json } from '#shared/http/respond.ts';
import { createLogger } from '#shared/log.ts';

const logged: string[] = [];
const context = (signal = new AbortController().signal): FunctionContext => ({
  callId: 'call-1',
  signal,
  log: createLogger({ write: (line) => void logged.push(line) }),
});

function event(url: string, method = 'GET'): FunctionEvent {
  const { pathname, searchParams } = new URL(url, 'http://function');
  return {
    method,
    url,
    path: pathname,
    query: searchParams,
    headers: {},
    rawHeaders: [],
    body: Readable.from([]),
    trailers: () => ({}),
    remoteAddress: '',
  };
}

function create(diagnosis: Diagnosis, ticks = false) {
  return defineFunction(
    { authenticate: async () => ({ name: 'ops', method: ticks ? 'scheduled-tick' : 'api-key' }), diagnosis },
    async () => json(200, { from: 'handler' }),
  );
}

const read = async (body: unknown) => {
  let text = '';
  for await (const chunk of body as Readable) text += chunk;
  return text;
};

describe('the doctor of a function', () => {
  it('tells of each upstream whether it answers, its version, and the settings to change when it does not', async () => {
    const refused = new UpstreamError('Lago', 'status', 'body of Lago', { status: 401, advice: 'check LAGO_API_KEY' });
    const handler = create({
      isDurable: false,
      upstreams: [
        { name: 'LiteLLM', settings: 'LITELLM_API_BASE_URL', check: async () => '1.101.2' },
        { name: 'Lago', settings: 'LAGO_API_BASE, LAGO_API_KEY', check: () => Promise.reject(refused) },
        { name: 'Other', settings: 'OTHER', check: () => Promise.reject(new Error('http://secret.internal')) },
      ],
    });
    const answer = await handler(event('/_doctor'), context());
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body as string)).toMatchObject({
      node: process.version,
      durable: false,
      last_tick: null,
      upstreams: [
        { name: 'LiteLLM', ok: true, version: '1.101.2', duration_ms: expect.any(Number) },
        {
          name: 'Lago',
          ok: false,
          settings: 'LAGO_API_BASE, LAGO_API_KEY',
          failure: 'answered 401: check LAGO_API_KEY',
        },
        { name: 'Other', ok: false, failure: 'the check itself failed: the log has the details' },
      ],
    });
    expect(answer.body).not.toMatch(/secret|body of Lago/);
    expect(logged.join()).toContain('body of Lago');
  });

  it('remembers the last scheduled tick', async () => {
    let method: 'scheduled-tick' | 'api-key' = 'scheduled-tick';
    const handler = defineFunction(
      { authenticate: async () => ({ name: 'x', method }), diagnosis: { upstreams: [] } },
      async () => json(202, {}),
    );
    await handler(event('/', 'POST'), context());
    method = 'api-key';
    const { last_tick } = JSON.parse((await handler(event('/_doctor'), context())).body as string);
    expect(last_tick).toEqual({ at: expect.stringMatching(/Z$/), status: 202 });
  });

  it('streams as many events as are asked for', async () => {
    const { headers, body } = await create({ upstreams: [] })(event('/_doctor/stream?events=3&every_ms=0'), context());
    expect(headers).toMatchObject({ 'Content-Type': 'text/event-stream' });
    expect(await read(body)).toBe('data: {"event":1}\n\ndata: {"event":2}\n\ndata: {"event":3}\n\n');
  });

  it('answers after the time that is asked for, and stops when the caller leaves', async () => {
    const handler = create({ upstreams: [] });
    expect(await handler(event('/_doctor/wait?seconds=0'), context())).toMatchObject({ status: 200 });
    const left = new AbortController();
    const answer = handler(event('/_doctor/wait?seconds=1000'), context(left.signal));
    left.abort();
    expect((await answer).status).toBe(499);
  });

  it.each(['stream?events=1000', 'stream?every_ms=x', 'wait?seconds=-1', 'wait?seconds='])(
    'refuses /_doctor/%s with 400 and the bounds',
    async (path) => {
      const { status, body } = await create({ upstreams: [] })(event(`/_doctor/${path}`), context());
      expect([status, JSON.parse(body as string).code]).toEqual([400, 'invalid_parameter']);
    },
  );

  it('leaves every other path, and a scheduled tick, to the handler', async () => {
    const own = { path: '/_proxy/doctor', upstreams: [] };
    for (const path of ['/', '/_doctor', '/_proxy/doctors', '/_proxy/doctor/x']) {
      expect((await create(own)(event(path), context())).body).toBe('{"from":"handler"}');
    }
    expect((await create({ upstreams: [] })(event('/_doctor', 'POST'), context())).body).toBe('{"from":"handler"}');
    expect((await create({ upstreams: [] }, true)(event('/_doctor'), context())).body).toBe('{"from":"handler"}');
  });
});
