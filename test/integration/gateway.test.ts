import { type IncomingHttpHeaders, type RequestOptions, request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sendTick } from '../../tools/gateway/cron.ts';
import { type Front, startFront } from '../../tools/gateway/front.ts';
import { type Child, createChild } from '../../tools/gateway/supervisor.ts';
import type { StackFunction } from '../../tools/stack/stack.ts';

const program = join(import.meta.dirname, '../fixtures/gateway/child.mjs');
const lines: string[] = [];
const children: Child[] = [];
let front: Front;

function spec(name: string, environment: Record<string, string>): StackFunction {
  return {
    name,
    image: `local/${name}:latest`,
    folder: '/nowhere',
    environment,
    secrets: ['a-secret'],
    labels: {},
    annotations: { topic: 'cron-function', schedule: '@hourly' },
    limits: {},
    requests: {},
    readOnlyRootFilesystem: true,
  };
}

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
  complete: boolean;
}

function call(path: string, options: RequestOptions = {}, ...body: string[]): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = request(`${front.url}${path}`, { agent: false, ...options }, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (piece) => {
        text += piece;
      });
      res.on('error', () => undefined);
      res.on('close', () => {
        resolve({ status: res.statusCode ?? 0, headers: res.headers, body: text, complete: res.complete });
      });
    });
    req.on('error', reject);
    for (const piece of body) req.write(piece);
    req.end();
  });
}

interface Seen {
  method: string;
  url: string;
  rawHeaders: string[];
  body: string;
  pid: number;
  env: Record<string, string>;
}

function headersOf({ rawHeaders }: Seen): Record<string, string> {
  const names = rawHeaders.filter((_, index) => index % 2 === 0);
  return Object.fromEntries(names.map((name, index) => [name.toLowerCase(), rawHeaders[index * 2 + 1]!]));
}

async function until(condition: () => boolean | Promise<boolean>, deadlineMs = 5_000) {
  const end = Date.now() + deadlineMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error('it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

beforeAll(async () => {
  const specs = [
    spec('plain', { log_callid: 'true', GREETING: 'hello' }),
    spec('narrow', { max_inflight: '1', exec_timeout: '300ms' }),
  ];
  const backoff = { firstMs: 50, maxMs: 200, steadyMs: 60_000 };
  for (const { name, environment } of specs) {
    children.push(createChild({ name, program, environment, log: (line) => lines.push(line), backoff }));
  }
  const served = specs.map((item, index) => ({ spec: item, port: children[index]!.port }));
  front = await startFront({ functions: () => served, port: 0, log: (line) => lines.push(line) });
  expect(await Promise.all(children.map((child) => child.start()))).toEqual([true, true]);
});

afterAll(async () => {
  await front.close();
  await Promise.all(children.map((child) => child.stop()));
});

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
    expect(added['x-forwarded-host']).toBe(new URL(front.url).host);
    expect(added.host).not.toBe(new URL(front.url).host);

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
    expect(await sendTick(front.url, 'plain')).toBe(200);
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
    expect((await call('/async-function/plain', { method: 'POST' })).status).toBe(404);
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

describe('streams', () => {
  /** Opens /drip; resolves with the first piece's arrival and everything in the end. */
  function drip(headers: Record<string, string>) {
    const state = { begun: false, body: '', ended: false };
    const req = request(`${front.url}/function/plain/drip`, { agent: false, headers }, (res) => {
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
    const req = request(`${front.url}/function/plain/drip`, { agent: false, headers: { Accept: 'text/event-stream' } });
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
    expect(lines).toContainEqual(expect.stringMatching(/^plain \| ended \(exit 3\), starts again in 50 ms$/));
  });

  it('logs each call as the watchdog does', () => {
    expect(lines).toContainEqual(
      expect.stringMatching(/^plain \| GET \/ - 200 OK - ContentLength: \d+B \(\d\.\d{4}s\) \[[0-9a-f-]{36}\]$/),
    );
  });
});
