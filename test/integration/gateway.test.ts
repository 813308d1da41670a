import { type AddressInfo, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sendTick } from '../../tools/gateway/cron.ts';
import { headersOf, type Seen, startTestGateway } from '../support/gateway.ts';

type Gateway = Awaited<ReturnType<typeof startTestGateway>>;
let gateway: Gateway;
const call: Gateway['call'] = (...args) => gateway.call(...args);

beforeAll(async () => {
  gateway = await startTestGateway();
});
afterAll(() => gateway.close());

describe('what the function sees', () => {
  it('gets the rest of the path and the query as they were written, and only its own environment', async () => {
    const answer = await call('/function/plain.openfaas-fn/a%20b/c?q=a+b&q=%2F');
    const seen = JSON.parse(answer.body) as Seen;
    expect(seen).toMatchObject({ method: 'GET', url: '/a%20b/c?q=a+b&q=%2F' });
    const { PORT, ...env } = seen.env;
    expect(env).toEqual({ log_callid: 'true', GREETING: 'hello', HOST: '127.0.0.1' });
    expect(PORT).toMatch(/^\d+$/);
  });

  it('gets a body in chunks without Content-Length', async () => {
    const headers = { 'Content-Type': 'text/plain', 'Content-Length': '5' };
    const seen = JSON.parse((await call('/function/plain', { method: 'POST', headers }, 'hello')).body) as Seen;
    expect(seen).toMatchObject({ method: 'POST', url: '/', body: 'hello' });
    expect(headersOf(seen)).toMatchObject({ 'transfer-encoding': 'chunked', 'content-type': 'text/plain' });
    expect(headersOf(seen)).not.toHaveProperty('content-length');
  });

  it('gets Content-Length 0 for an empty body, even where the caller announced chunks', async () => {
    const headers = { 'Transfer-Encoding': 'chunked' };
    const seen = JSON.parse((await call('/function/plain', { method: 'POST', headers })).body) as Seen;
    expect(headersOf(seen)).toMatchObject({ 'content-length': '0' });
    expect(headersOf(seen)).not.toHaveProperty('transfer-encoding');
  });

  it('gets a call id, the start time and who asked, unless the caller says so', async () => {
    const made = await call('/function/plain');
    const added = headersOf(JSON.parse(made.body) as Seen);
    expect(made.headers['x-call-id']).toMatch(/^[0-9a-f-]{36}$/);
    expect(added['x-call-id']).toBe(made.headers['x-call-id']);
    expect(added['x-start-time']).toMatch(/^\d{19}$/);
    expect(made.headers['x-start-time']).toBe(added['x-start-time']);
    expect(added['x-forwarded-for']).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(added['x-forwarded-host']).toBe(new URL(gateway.url).host);
    expect(added.host).not.toBe(new URL(gateway.url).host);

    const headers = { 'X-Call-Id': 'mine', 'X-Forwarded-For': '10.0.0.1', 'X-Forwarded-Host': 'example.com' };
    const given = await call('/function/plain', { headers });
    expect(headersOf(JSON.parse(given.body) as Seen)).toMatchObject({
      'x-call-id': 'mine',
      'x-forwarded-for': '10.0.0.1',
      'x-forwarded-host': 'example.com',
    });
    expect(given.headers).not.toHaveProperty('x-call-id');
  });

  it('gets the credentials of the caller untouched, and no hop-by-hop header', async () => {
    const headers = {
      Authorization: 'Bearer key',
      Connection: 'close, X-Secret-Hop',
      'X-Secret-Hop': '1',
      TE: 'trailers',
    };
    const seen = headersOf(JSON.parse((await call('/function/plain', { headers })).body) as Seen);
    expect(seen.authorization).toBe('Bearer key');
    expect(seen).not.toHaveProperty('x-secret-hop');
    expect(seen).not.toHaveProperty('te');
  });

  it('gets a tick as cron-connector sends it', async () => {
    const bytes = await new Promise<string>((resolve) => {
      const server = createServer((socket) => {
        socket.once('data', (data) => {
          resolve(data.toString());
          socket.end('HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n');
          server.close();
        });
      });
      server.listen(0, '127.0.0.1', () => {
        void sendTick(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, 'plain');
      });
    });
    expect(bytes.split('\r\n')).toEqual([
      'POST /function/plain.openfaas-fn HTTP/1.1',
      expect.stringMatching(/^Host: 127\.0\.0\.1:\d+$/),
      'User-Agent: Go-http-client/1.1',
      'Content-Length: 0',
      'X-Connector: cron-connector',
      'X-Topic: cron-function',
      'Accept-Encoding: gzip',
      expect.stringMatching(/^Connection: /),
      '',
      '',
    ]);
    expect(await sendTick(gateway.url, 'plain')).toBe(200);
  });
});

describe('what the caller sees', () => {
  it('gets repeated headers, the time taken and no hop-by-hop header', async () => {
    const { headers } = await call('/function/plain');
    expect(headers['x-twice']).toBe('a, b');
    expect(headers).not.toHaveProperty('x-hop');
    expect(headers['x-duration-seconds']).toMatch(/^0\.\d{6}$/);
    expect(headers['x-served-by']).toBe('local-gateway');
    expect(headers).not.toHaveProperty('x-openfaas-internal');
  });

  it('gets 404 for a function or a namespace that is not there', async () => {
    for (const name of ['ghost', 'plain.other']) {
      const answer = await call(`/function/${name}`);
      expect(answer.status).toBe(404);
      expect(answer.body).toMatch(/^error finding function (ghost\.openfaas-fn|plain\.other): /);
      expect(answer.headers['x-openfaas-internal']).toBe('proxy');
    }
  });

  it('gets 500 without a body when the function drops the call', async () => {
    const answer = await call('/function/plain/reset');
    expect(answer).toMatchObject({ status: 500, body: '' });
    expect(answer.headers['x-openfaas-internal']).toBe('of-watchdog');
  });

  it('gets 200 without a body when it asked for a stream and the function drops the call', async () => {
    const answer = await call('/function/plain/reset', { headers: { Accept: 'text/event-stream' } });
    expect(answer).toMatchObject({ status: 200, body: '' });
  });

  it('gets 504 at exec_timeout, and at X-Timeout where that is shorter', async () => {
    const late = await call('/function/narrow/hang');
    expect(late).toMatchObject({ status: 504, body: '' });
    expect(late.headers['x-openfaas-internal']).toBe('of-watchdog');
    const sooner = await call('/function/plain/hang', { headers: { 'X-Timeout': '50ms' } });
    expect(sooner.status).toBe(504);
  });

  it('gets 429 above max_inflight, and an answer again after it', async () => {
    const [one, two] = await Promise.all([call('/function/narrow/hang'), call('/function/narrow/hang')]);
    expect([one.status, two.status].sort()).toEqual([429, 504]);
    const refused = one.status === 429 ? one : two;
    expect(refused.body).toBe('Concurrent request limit exceeded. Max concurrent requests: 1');
    expect(refused.headers['x-openfaas-internal']).toBe('faas-middleware');
    expect((await call('/function/narrow')).status).toBe(200);
  });

  it('gets a clean end when the function dies in the middle of its answer', async () => {
    const answer = await call('/function/plain/cut');
    expect(answer).toMatchObject({ status: 200, body: 'first half,', complete: true });
  });

  it('gets a large answer whole', async () => {
    expect((await call('/function/plain/big')).body).toHaveLength(100_000);
  });

  it('gets a redirect to the clean path', async () => {
    const answer = await call('/function//plain/../plain/a?b=1');
    expect(answer.status).toBe(301);
    expect(answer.headers.location).toBe('/function/plain/a?b=1');
  });
});
