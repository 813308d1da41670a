import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { UpstreamError } from '#shared/errors.ts';
import { defineFunction } from '#shared/http/define.ts';
import { toErrorBody } from '../../../functions/completion-proxy/dialect.ts';
import type { ForwardRequest } from '../../../functions/completion-proxy/forward.ts';
import { createProxyHandler, type ProxyParts, withJournal } from '../../../functions/completion-proxy/handler.ts';
import { createJournal } from '../../../functions/completion-proxy/journal.ts';
import { bodyOf, type CallOptions, makeCall } from '../../support/call.ts';

function makeProxy(given: Partial<ProxyParts> = {}) {
  const forwarded: ForwardRequest[] = [];
  const parts: ProxyParts = {
    chooseBackend: () => ({ origin: 'http://backend', basePath: '/base' }),
    chooseGenerator: () => undefined,
    async forward(request) {
      forwarded.push(request);
      return { status: 201, rawHeaders: ['X-A', '1', 'X-A', '2'], body: Readable.from(['ok']), trailers: () => ({}) };
    },
    journal: createJournal({ logsLines: 100, historyLines: 100 }),
    completionFallback: true,
    now: () => new Date(0),
    clock: () => 5,
    ...given,
  };
  const authenticate = async () => ({ name: 'anonymous', method: 'none' as const });
  const handler = withJournal(
    defineFunction({ authenticate, errorBody: toErrorBody }, createProxyHandler(parts)),
    parts,
  );
  const ask = async (options: CallOptions) => {
    const { event, context, lines } = makeCall(options);
    return { response: await handler(event, context), lines };
  };
  return { ask, forwarded, journal: parts.journal };
}

const completion = (body: string) => ({ method: 'POST', url: '/completion', body });

describe('completion-proxy', () => {
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

  it('answers the altered prompt without a model, marked, and remembers nothing of it', async () => {
    const { ask, journal } = makeProxy();
    const { response } = await ask(completion('{"prompt":"Hello"}'));
    expect(bodyOf(response)).toEqual({ completion: 'hElLo' });
    expect(response.headers).toMatchObject({ 'X-Completion-Source': 'fallback', 'X-Request-ID': 'call-1' });
    expect(journal.history()).toBe('');
  });

  it('keeps prompt and failure text out of every log', async () => {
    const generate = async () => {
      throw new UpstreamError('Ollama', 'status', 'you said: hush', { status: 500 });
    };
    const { ask, journal } = makeProxy({ chooseGenerator: () => ({ generate }) });
    const { response, lines } = await ask(completion('{"prompt":"hush"}'));
    expect(response.status).toBe(200);
    expect(journal.logs()).toContain('Error while forwarding to the LLM: status 500');
    expect(journal.logs() + lines.join('')).not.toContain('hush');
  });

  it('remembers what the model answered', async () => {
    const { ask, journal } = makeProxy({ chooseGenerator: () => ({ generate: async () => 'yes\nno' }) });
    await ask(completion('{"prompt":"ok?"}'));
    expect(journal.history()).toBe(
      '{"timestamp":"1970-01-01T00:00:00.000Z","origin":"127.0.0.1","latency":0,"prompt":"ok?","completion":"yes\\nno","request_id":"call-1"}\n',
    );
  });

  it('answers 502 without a model where no fallback is wanted', async () => {
    const { response } = await makeProxy({ completionFallback: false }).ask(completion('{"prompt":"x"}'));
    expect(response.status).toBe(502);
  });

  it('has routes of its own and refuses other methods there', async () => {
    const { ask, forwarded } = makeProxy();
    expect(bodyOf((await ask({ url: '/' })).response)).toEqual({ status: 'ok', time: '1970-01-01T00:00:00.000Z' });
    expect((await ask({ url: '/logs' })).response.body).toContain('Incoming request: GET /logs');
    const { response } = await ask({ url: '/completion' });
    expect([response.status, response.headers]).toMatchObject([405, { Allow: 'POST' }]);
    expect(forwarded).toEqual([]);
  });

  it('passes every other path on, raw, with the backend path before it', async () => {
    const { ask, forwarded } = makeProxy();
    const { response } = await ask({ method: 'DELETE', url: '/api/delete?a=b%20c' });
    expect(forwarded[0]).toMatchObject({
      origin: 'http://backend',
      path: '/base/api/delete?a=b%20c',
      method: 'DELETE',
    });
    expect(forwarded[0]?.body).toBeNull();
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

  it('refuses a target that names another server', async () => {
    const { ask, forwarded } = makeProxy();
    const { response } = await ask({ url: 'http://169.254.169.254/latest' });
    expect(response.status).toBe(400);
    expect(forwarded).toEqual([]);
  });
});
