import { describe, expect, it } from 'vitest';
import { createAuthenticate } from '#shared/auth/authenticate.ts';
import { signBody } from '#shared/auth/keys.ts';
import { HttpError, UpstreamError } from '#shared/errors.ts';
import { readJson, readText } from '#shared/http/body.ts';
import { defineFunction } from '#shared/http/define.ts';
import { json } from '#shared/http/respond.ts';
import { createTick } from '#shared/http/tick.ts';
import { bodyOf, makeCall } from '../../support/call.ts';

const open = async () => ({ name: 'anonymous', method: 'none' as const });

function answerTo(error: unknown) {
  const { event, context, lines } = makeCall();
  const handler = defineFunction({ authenticate: open }, async () => {
    throw error;
  });
  return handler(event, context).then((response) => ({ response, lines }));
}

describe('defineFunction', () => {
  it('answers with the call id, whatever form the headers have', async () => {
    const { event, context } = makeCall();
    const asObject = await defineFunction({ authenticate: open }, async () => json(200, {}))(event, context);
    expect(asObject.headers).toMatchObject({ 'X-Call-Id': 'call-1' });
    const asList = await defineFunction({ authenticate: open }, async () => ({ status: 204, headers: [['A', 'b']] }))(
      event,
      context,
    );
    expect(asList.headers).toEqual([
      ['A', 'b'],
      ['X-Call-Id', 'call-1'],
    ]);
  });

  it('shows the message of an HttpError and its headers', async () => {
    const { response } = await answerTo(
      new HttpError(429, 'slow down', { code: 'too_fast', headers: { 'Retry-After': '3' } }),
    );
    expect(response.status).toBe(429);
    expect(response.headers).toMatchObject({ 'Retry-After': '3' });
    expect(bodyOf(response)).toEqual({ error: 'slow down', code: 'too_fast', call_id: 'call-1' });
  });

  it.each([
    ['timeout', 504, 'Lago did not answer in time'],
    ['network', 502, 'Lago could not be reached'],
    ['invalid_response', 502, 'Lago gave an answer that could not be understood'],
    ['status', 502, 'Lago answered with an error: check LAGO_API_KEY'],
  ] as const)('answers an upstream %s with %i and keeps its detail for the log', async (failure, status, message) => {
    const advice = failure === 'status' ? 'check LAGO_API_KEY' : undefined;
    const { response, lines } = await answerTo(
      new UpstreamError('Lago', failure, 'http://10.0.0.1 said no', { advice }),
    );
    expect(response.status).toBe(status);
    expect(bodyOf(response)).toEqual({ error: message, code: `upstream_${failure}`, call_id: 'call-1' });
    expect(String(response.body)).not.toContain('10.0.0.1');
    expect(lines.join()).toContain('10.0.0.1');
  });

  it('answers 500 to its own faults, without a word of them', async () => {
    const { response, lines } = await answerTo(new TypeError('password is hunter2'));
    expect(response.status).toBe(500);
    expect(String(response.body)).not.toContain('hunter2');
    expect(lines.join()).toContain('TypeError');
  });

  it('takes the shape of error bodies from the function', async () => {
    const { event, context } = makeCall();
    const handler = defineFunction(
      { authenticate: open, errorBody: ({ message }) => ({ success: false, message }) },
      async () => {
        throw new HttpError(404, 'nobody here', { code: 'not_found' });
      },
    );
    expect(bodyOf(await handler(event, context))).toEqual({ success: false, message: 'nobody here' });
  });

  it('does not call the handler of a caller whom it refuses', async () => {
    const { event, context } = makeCall();
    let called = false;
    const authenticate = async () => {
      throw new HttpError(401, 'no', { code: 'unauthorized' });
    };
    const handler = defineFunction({ authenticate }, async () => {
      called = true;
      return json(200, {});
    });
    expect((await handler(event, context)).status).toBe(401);
    expect(called).toBe(false);
  });

  it('hands the handler the very bytes whose signature it checked', async () => {
    const body = '{"a":1}';
    const { event, context } = makeCall({
      method: 'POST',
      body,
      headers: { 'X-Hub-Signature-256': signBody(body, 'w') },
    });
    const authenticate = createAuthenticate(
      {
        AUTH: ['hmac'],
        ALLOW_SCHEDULED_TICK: false,
        'function-api-key': { name: 'function-api-key', read: () => undefined },
        'webhook-secret': { name: 'webhook-secret', read: () => 'w' },
      },
      'test',
    );
    const handler = defineFunction({ authenticate }, async (call) => json(200, await readText(call)));
    expect(bodyOf(await handler(event, context))).toBe(body);
  });
});

describe('readJson', () => {
  it.each([
    ['', 'is empty'],
    ['{', 'is not valid JSON'],
  ])('refuses %j with a sentence', async (body, sentence) => {
    const { event } = makeCall({ method: 'POST', body });
    await expect(readJson(event)).rejects.toMatchObject({ status: 400, message: expect.stringContaining(sentence) });
  });

  it('refuses a body above the limit, counted in bytes', async () => {
    const { event } = makeCall({ method: 'POST', body: '"äääääää"' });
    await expect(readJson(event, 15)).rejects.toMatchObject({ status: 413, code: 'body_too_large' });
    expect(await readJson(makeCall({ method: 'POST', body: '"äääääää"' }).event, 16)).toBe('äääääää');
  });
});

describe('createTick', () => {
  it('accepts at once, runs one job at a time and keeps an interval', async () => {
    const { context } = makeCall();
    let now = 0;
    let finish = () => {};
    let runs = 0;
    const tick = createTick(
      () => {
        runs += 1;
        return new Promise((resolve) => {
          finish = resolve;
        });
      },
      { minIntervalMs: 1000, now: () => now },
    );
    expect(bodyOf(await tick(context))).toEqual({ accepted: true });
    now = 5000;
    expect((await tick(context)).status).toBe(202);
    expect(runs).toBe(1);
    finish();
    await new Promise(setImmediate);
    now = 500;
    await expect(tick(context)).rejects.toMatchObject({ status: 429, headers: { 'Retry-After': '1' } });
    now = 1000;
    expect((await tick(context)).status).toBe(202);
    expect(runs).toBe(2);
  });

  it('logs a failed job and runs the next one', async () => {
    const { context, lines } = makeCall();
    const tick = createTick(() => Promise.reject(new Error('no luck')), { minIntervalMs: 0 });
    await tick(context);
    await new Promise(setImmediate);
    expect(lines.join()).toContain('no luck');
    expect((await tick(context)).status).toBe(202);
  });
});
