import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Seen, startTestGateway, until } from '../support/gateway.ts';

type Gateway = Awaited<ReturnType<typeof startTestGateway>>;
let gateway: Gateway;
const call: Gateway['call'] = (...args) => gateway.call(...args);

beforeAll(async () => {
  gateway = await startTestGateway();
});
afterAll(() => gateway.close());

describe('streams', () => {
  /** Opens /drip; resolves with the first piece's arrival and everything in the end. */
  function drip(headers: Record<string, string>) {
    const state = { begun: false, body: '', ended: false };
    const req = request(`${gateway.url}/function/plain/drip`, { agent: false, headers }, (res) => {
      state.begun = true;
      res.on('data', (piece: Buffer) => {
        state.body += piece.toString();
      });
      res.on('end', () => {
        state.ended = true;
      });
    });
    req.end();
    return state;
  }

  it.each(['text/event-stream', 'application/json, Text/Event-Stream', 'application/x-ndjson'])(
    'passes on each piece at once with Accept: %s',
    async (accept) => {
      const state = drip({ Accept: accept });
      await until(() => state.body === 'data: one\n\n');
      expect(state.ended).toBe(false);
      await call('/function/plain/release');
      await until(() => state.ended);
      expect(state.body).toBe('data: one\n\ndata: two\n\n');
    },
  );

  it('holds a small answer back to its end without that Accept, headers included', async () => {
    const held = drip({ Accept: 'application/json' });
    const streamed = drip({ Accept: 'text/event-stream' });
    // The stream was asked for later: by the time its first piece is here, the held one would be too.
    await until(() => streamed.body !== '');
    await call('/function/plain/big');
    expect(held).toEqual({ begun: false, body: '', ended: false });
    await call('/function/plain/release');
    await until(() => held.ended && streamed.ended);
    expect(held.body).toBe('data: one\n\ndata: two\n\n');
  });
});

describe('a caller that leaves', () => {
  it('takes the call to the function with it, and nothing else', async () => {
    const req = request(`${gateway.url}/function/plain/drip`, {
      agent: false,
      headers: { Accept: 'text/event-stream' },
    });
    req.on('error', () => undefined);
    req.on('response', (res) => {
      res.on('error', () => undefined);
      res.once('data', () => req.destroy());
    });
    req.end();
    await until(async () => (await call('/function/plain/left')).body === '1');
    expect((await call('/function/plain')).status).toBe(200);
  });

  it('gets the answer of a function that did not read the whole body', async () => {
    const answer = await call('/function/plain/early', { method: 'POST' }, 'x'.repeat(10_000));
    expect(answer).toMatchObject({ status: 413, body: 'too large' });
  });
});

describe('the system routes', () => {
  it('says that it is well, what it is and what it runs, without any environment', async () => {
    expect((await call('/healthz')).status).toBe(200);
    expect(JSON.parse((await call('/system/info')).body)).toMatchObject({ provider: { orchestration: 'processes' } });
    expect(JSON.parse((await call('/system/namespaces')).body)).toEqual(['openfaas-fn']);
    const { body } = await call('/system/functions?namespace=openfaas-fn');
    expect(JSON.parse(body)).toMatchObject([
      { name: 'plain', namespace: 'openfaas-fn', availableReplicas: 1, annotations: { topic: 'cron-function' } },
      { name: 'narrow' },
    ]);
    expect(body).not.toContain('hello');
    expect(JSON.parse((await call('/system/functions?namespace=other')).body)).toEqual([]);
    expect((await call('/system/function/ghost')).status).toBe(404);
  });
});

describe('a function that dies', () => {
  it('is started again, and the calls in between get 500', async () => {
    const before = JSON.parse((await call('/function/plain')).body) as Seen;
    expect((await call('/function/plain/die')).status).toBe(500);
    await until(async () => (await call('/function/plain')).body.includes("Can't reach service for: plain."));
    await until(async () => (await call('/function/plain')).status === 200);
    const after = JSON.parse((await call('/function/plain')).body) as Seen;
    expect(after.pid).not.toBe(before.pid);
    expect(gateway.lines).toContainEqual(expect.stringMatching(/^plain \| ended \(exit 3\), starts again in 50 ms$/));
  });

  it('logs each call as the watchdog does', () => {
    expect(gateway.lines).toContainEqual(
      expect.stringMatching(/^plain \| GET \/ - 200 OK - ContentLength: \d+B \(\d\.\d{4}s\) \[[0-9a-f-]{36}\]$/),
    );
  });
});
