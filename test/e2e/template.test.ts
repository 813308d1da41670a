import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundle } from '../../template/node24-ts/build.mjs';
import { type BundleProcess, runBundle, until } from '../support/bundle-process.ts';

let folder: string;
let file: string;
let server: BundleProcess;
const started: BundleProcess[] = [];

async function start(env: Record<string, string> = {}) {
  const running = await runBundle(file, env);
  started.push(running);
  return running;
}

function open(path: string, options: RequestOptions = {}, to = server): ClientRequest {
  return request({ host: '127.0.0.1', port: to.port, path, agent: false, ...options });
}

async function call(path: string, options: RequestOptions & { body?: string | Buffer } = {}, to = server) {
  const sent = open(path, options, to);
  sent.end(options.body);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return { status: response.statusCode, headers: response.headers, body: await text(response) };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'template-'));
  file = join(folder, 'index.cjs');
  await bundle({ entry: new URL('../fixtures/template-function/index.ts', import.meta.url).pathname, outfile: file });
  server = await start({ MAX_BODY_BYTES: '1000000' });
});

afterAll(async () => {
  for (const { child } of started) child.kill('SIGKILL');
  await rm(folder, { recursive: true });
});

describe('a call', () => {
  test('reaches the handler with its bytes as they were sent, and so does the answer', async () => {
    const options = { method: 'PUT', headers: { 'x-MiXed': ['1', '2'] }, body: Buffer.from([0, 255, 10]) };
    const answer = await call('/echo?q=a%20b&q=2', options);
    expect(answer.status).toBe(201);
    expect(answer.headers['set-cookie']).toEqual(['a=1', 'b=2']);
    expect(answer.headers['x-url']).toBe('/echo?q=a%20b&q=2');
    expect(answer.headers['x-query']).toBe('a b');
    expect(JSON.parse(answer.headers['x-raw'] as string)).toEqual(
      expect.arrayContaining(['x-MiXed', '1', 'x-MiXed', '2']),
    );
    expect(answer.headers['content-length']).toBe('3');
  });

  test.each([
    [{ 'X-Request-ID': 'req-1', 'X-Call-Id': 'call-1' }, /^req-1$/],
    [{ 'X-Call-Id': 'call-1' }, /^call-1$/],
    [{ 'X-Request-ID': 'not safe' }, /^[0-9a-f-]{36}$/],
  ])('with %j is named in the answer and in the log', async (headers, expected) => {
    const { headers: answered } = await call('/unknown', { headers });
    const callId = answered['x-call-id'] as string;
    expect(callId).toMatch(expected);
    await until('the log names it', () => server.lines.find((line) => JSON.parse(line).call_id === callId));
  });

  test('whose handler throws is answered 500 without the reason, which is logged', async () => {
    for (const path of ['/throw', '/bad-header']) {
      const { status, body } = await call(path, { headers: { 'X-Call-Id': 'boom' } });
      expect(status).toBe(500);
      expect(JSON.parse(body)).toEqual({ error: expect.any(String), code: 'internal_error', call_id: 'boom' });
      expect(body).not.toContain('1234');
    }
    await until('the reason is logged', () => server.lines.find((line) => line.includes('the pin is 1234')));
  });

  test.each([
    ['GET http://169.254.169.254/latest HTTP/1.1', 400],
    ['GET http://function/_/health HTTP/1.1', 400],
    ['OPTIONS * HTTP/1.1', 400],
    ['CONNECT 169.254.169.254:80 HTTP/1.1', 405],
  ])('that names another server is refused: %s', async (line, status) => {
    const socket = connect(server.port, '127.0.0.1');
    socket.write(`${line}\r\nHost: function\r\nConnection: close\r\n\r\n`);
    expect(await text(socket)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  });

  test('for health and readiness is answered by the server itself', async () => {
    expect(await call('/_/health')).toMatchObject({ status: 200, body: 'OK' });
    expect(await call('/_/ready?probe=1')).toMatchObject({ status: 200, body: 'OK' });
  });

  test('that must have no body has none, whatever the handler gives', async () => {
    expect(await call('/no-content')).toMatchObject({ status: 204, body: '' });
    expect(await call('/unknown', { method: 'HEAD' })).toMatchObject({ status: 404, body: '' });
  });
});

describe('a body', () => {
  test('above MAX_BODY_BYTES is answered 413, though it came without a Content-Length', async () => {
    const sent = open('/echo', { method: 'POST', headers: { 'X-Call-Id': 'big' } });
    sent.write(Buffer.alloc(600_000));
    sent.end(Buffer.alloc(600_000));
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    expect(response.statusCode).toBe(413);
    expect(JSON.parse(await text(response))).toMatchObject({ code: 'body_too_large', call_id: 'big' });
  });

  test('many times larger than a small MAX_BODY_BYTES is answered 413 as well', async () => {
    const own = await start({ MAX_BODY_BYTES: '10' });
    const answer = await call('/echo', { method: 'POST', body: Buffer.alloc(50_000) }, own);
    expect(answer.status).toBe(413);
    expect((await call('/echo', { method: 'POST', body: 'ten bytes.' }, own)).status).toBe(201);
  });

  test('without an end is cut once far more than MAX_BODY_BYTES has come', async () => {
    const own = await start({ MAX_BODY_BYTES: '10' });
    const sent = open('/echo', { method: 'POST' }, own);
    const cut = new Promise((resolve) => sent.on('error', resolve));
    const pour = () => {
      while (!sent.destroyed && sent.write(Buffer.alloc(64 * 1024)));
    };
    sent.on('drain', pour);
    pour();
    expect(await cut).toMatchObject({ code: expect.stringMatching(/EPIPE|ECONNRESET/) });
    expect((await call('/seen', {}, own)).status).toBe(200);
  });

  test('that stops in the middle is answered 408, and its connection ends', async () => {
    const own = await start({ BODY_IDLE_TIMEOUT_MS: '200' });
    const sent = open('/echo', { method: 'POST', headers: { 'Content-Length': '10', 'X-Call-Id': 'slow' } }, own);
    sent.write('half');
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    expect(response.statusCode).toBe(408);
    const closed = once(response.socket, 'close');
    expect(JSON.parse(await text(response))).toMatchObject({ code: 'body_too_slow', call_id: 'slow' });
    await closed;
  });

  test('of exactly MAX_BODY_BYTES is taken', async () => {
    expect((await call('/echo', { method: 'POST', body: Buffer.alloc(1_000_000) })).body.length).toBe(1_000_000);
  });

  test.each(['/refuse-body', '/destroy-body'])('that %s gives up on does not take the answer with it', async (path) => {
    // As the watchdog calls: a connection that is to be closed ends with the answer, whoever is still sending.
    const headers = { Connection: 'keep-alive' };
    const answer = await call(path, { method: 'POST', headers, body: Buffer.alloc(900_000) });
    expect(answer).toMatchObject({ status: 422, body: 'no thanks' });
  });
});

describe('a stream', () => {
  test('arrives chunk by chunk, before its end, and with its trailers', async () => {
    const sent = open('/stream').end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    const chunks: string[] = [];
    response.on('data', (chunk) => chunks.push(String(chunk)));
    await once(response, 'data');
    expect(chunks).toEqual(['first']);
    const ended = once(response, 'end');
    await call('/release');
    await ended;
    expect(chunks).toEqual(['first', 'last']);
    expect(response.trailers).toEqual({ 'x-check': 'done' });
  });

  test('that fails in the middle ends the connection instead of looking whole', async () => {
    const sent = open('/cut').end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    await once(response, 'data');
    await call('/release');
    await expect(text(response)).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(response.complete).toBe(false);
  });

  test('is stopped at its source when the caller leaves', async () => {
    const sent = open('/endless').end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    await once(response, 'data');
    response.destroy();
    await until(
      'the body is destroyed',
      async () => (await call('/seen')).body.includes('endless closed') || undefined,
    );
  });

  test('does not outrun a caller who reads nothing', async () => {
    const own = await start();
    const sent = open('/endless', {}, own).end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    response.pause();
    const rssMb = async () => {
      const { readFile } = await import('node:fs/promises');
      return Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${own.child.pid}/status`, 'utf8'))?.[1]) / 1024;
    };
    const before = await rssMb();
    // At the speed of /endless a second would be hundreds of megabytes.
    const end = Date.now() + 1_000;
    await until('a second has passed', () => Date.now() > end || undefined);
    expect((await rssMb()) - before).toBeLessThan(60);
    response.destroy();
  });
});

test("aborts the handler's signal when the caller leaves before the answer", async () => {
  const sent = open('/hang')
    .on('error', () => {})
    .end();
  const seen = async () => (await call('/seen')).body;
  await until('the handler runs', async () => (await seen()).includes('hang called') || undefined);
  sent.destroy();
  await until('the signal aborts', async () => (await seen()).includes('signal aborted') || undefined);
});

describe('the process', () => {
  test('refuses to start on bad configuration, naming each setting and no value', async () => {
    const refused = await start({ COLOUR: 'wrong-s3cret' });
    expect(await refused.exited).toBe(1);
    expect(refused.lines).toHaveLength(1);
    expect(JSON.parse(refused.lines[0]!).reason).toMatch(/COLOUR: must be red or blue\n.*SIZE is required/);
    expect(refused.lines[0]).not.toContain('s3cret');
  });

  test('refuses to start on a bad setting of the server', async () => {
    const refused = await start({ MAX_BODY_BYTES: '-17' });
    expect(await refused.exited).toBe(1);
    expect(refused.lines.join()).toMatch(/MAX_BODY_BYTES/);
    expect(refused.lines.join()).not.toContain('-17');
  });

  test('exits 1 on an error that nobody caught', async () => {
    const own = await start();
    await call('/crash', {}, own).catch(() => {});
    expect(await own.exited).toBe(1);
    expect(own.lines.at(-1)).toContain('nobody catches this');
  });

  test('serves new calls after SIGTERM, drains the one in flight, closes the handler and exits 0', async () => {
    const own = await start({ healthcheck_interval: '500ms' });
    const slow = call('/slow', {}, own);
    await until('the slow call runs', () => own.lines.find((line) => line.includes('"/slow"')));
    own.child.kill('SIGTERM');
    await until('the signal is seen', () => own.lines.find((line) => line.includes('"stopping"')));
    expect((await call('/seen', {}, own)).status).toBe(200);
    expect((await call('/_/ready', {}, own)).status).toBe(503);
    expect(own.child.exitCode).toBe(null);
    await call('/release', {}, own);
    expect(await slow).toMatchObject({ status: 200, body: 'slow' });
    expect(await own.exited).toBe(0);
    expect(own.lines).toContain('{"msg":"handler closed"}');
  });

  test('stays for a call that lasts longer than the healthcheck interval', async () => {
    const own = await start({ healthcheck_interval: '10ms' });
    const slow = call('/slow', {}, own);
    await until('the slow call runs', () => own.lines.find((line) => line.includes('"/slow"')));
    own.child.kill('SIGTERM');
    const end = Date.now() + 200;
    await until('the interval is long over', () => Date.now() > end || undefined);
    await call('/release', {}, own);
    expect(await slow).toMatchObject({ status: 200, body: 'slow' });
    expect(await own.exited).toBe(0);
  });

  test('cuts what is left at a second signal', async () => {
    const own = await start();
    const slow = call('/slow', {}, own);
    slow.catch(() => {});
    await until('the slow call runs', () => own.lines.find((line) => line.includes('"/slow"')));
    own.child.kill('SIGTERM');
    await until('the signal is seen', () => own.lines.find((line) => line.includes('"stopping"')));
    own.child.kill('SIGTERM');
    await expect(slow).rejects.toThrow();
    expect(await own.exited).toBe(0);
    expect(own.lines.filter((line) => line.includes('handler closed'))).toHaveLength(1);
  });
});
