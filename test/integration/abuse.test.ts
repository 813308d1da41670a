import { createServer, type IncomingHttpHeaders } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/bundle-process.ts';
import { buildProxy, type ProxyBundle } from '../support/proxy-bundle.ts';

interface Seen {
  line: string;
  headers: IncomingHttpHeaders;
  body: string;
}

const seen: Seen[] = [];
const backend = createServer(async (req, res) => {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of req) chunks.push(chunk as Buffer);
  } catch {
    // Half a call is none.
    return;
  }
  seen.push({ line: `${req.method} ${req.url}`, headers: req.headers, body: Buffer.concat(chunks).toString() });
  if (req.url === '/redirect') res.writeHead(302, { Location: 'http://169.254.169.254/latest/meta-data' });
  res.end('from the backend');
});

let bundle: ProxyBundle;
let port: number;
let lines: string[];
let backendHost: string;

beforeAll(async () => {
  await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
  backendHost = `127.0.0.1:${(backend.address() as AddressInfo).port}`;
  bundle = await buildProxy();
  const env = { BACKEND_URL: `http://${backendHost}`, BODY_IDLE_TIMEOUT_MS: '300', MAX_BODY_BYTES: '1000000' };
  ({ port, lines } = await bundle.start(env));
}, 60_000);
afterEach(() => {
  seen.length = 0;
});
afterAll(async () => {
  await bundle.close();
  backend.close();
  backend.closeAllConnections();
});

/** What comes back for these bytes until the other side closes, or has been silent for `quietMs`. */
function send(bytes: string, quietMs = 1_000): Promise<{ text: string; closed: boolean }> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    let text = '';
    const finish = (closed: boolean) => {
      socket.destroy();
      resolve({ text, closed });
    };
    socket.setTimeout(quietMs, () => finish(false));
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
    });
    socket.on('error', () => {});
    socket.on('close', () => finish(true));
    socket.write(bytes, 'latin1');
  });
}

const key = 'Authorization: Bearer proxy-key';
const smuggled = `GET /smuggled HTTP/1.1\r\nHost: x\r\n${key}\r\n\r\n`;
/** A call of which two readers could disagree where it ends; what follows would be a call of its own to one of them. */
const post = (fields: string, body: string) => `POST /v1/x HTTP/1.1\r\nHost: x\r\n${key}\r\n${fields}\r\n\r\n${body}`;

describe('a call whose end is in dispute', () => {
  it.each([
    [
      'Content-Length and Transfer-Encoding',
      post('Content-Length: 4\r\nTransfer-Encoding: chunked', `0\r\n\r\n${smuggled}`),
    ],
    [
      'Transfer-Encoding and Content-Length',
      post('Transfer-Encoding: chunked\r\nContent-Length: 4', `0\r\n\r\n${smuggled}`),
    ],
    ['two lengths', post('Content-Length: 4\r\nContent-Length: 0', `abcd${smuggled}`)],
    ['two lengths in one field', post('Content-Length: 4, 0', `abcd${smuggled}`)],
    ['a signed length', post('Content-Length: +4', `abcd${smuggled}`)],
    ['a negative length', post('Content-Length: -1', smuggled)],
    ['a hexadecimal length', post('Content-Length: 0x4', `abcd${smuggled}`)],
    ['a length with a space inside', post('Content-Length: 4 0', `abcd${smuggled}`)],
    ['a length beyond every number', post('Content-Length: 18446744073709551620', `abcd${smuggled}`)],
    ['an unknown transfer coding', post('Transfer-Encoding: xchunked', `0\r\n\r\n${smuggled}`)],
    ['a transfer coding after chunked', post('Transfer-Encoding: chunked, identity', `0\r\n\r\n${smuggled}`)],
    ['a space before the colon', post('Transfer-Encoding : chunked', `0\r\n\r\n${smuggled}`)],
    ['a folded field', post('X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 4', `abcd${smuggled}`)],
    ['a folded coding', post('Transfer-Encoding:\r\n chunked\r\nContent-Length: 5', `0\r\n\r\n${smuggled}`)],
    [
      'a field that ends with a bare line feed',
      post('X-A: b\nTransfer-Encoding: chunked\r\nContent-Length: 4', `abcd${smuggled}`),
    ],
    ['a field with a bare carriage return', post('X-A: b\rContent-Length: 0\r\nContent-Length: 4', `abcd${smuggled}`)],
    ['a NUL in a field', post('X-A: b\0c\r\nContent-Length: 4', `abcd${smuggled}`)],
    ['a NUL in a name', post('Content-Length\0: 4', `abcd${smuggled}`)],
    ['a chunk size in another notation', post('Transfer-Encoding: chunked', `0x4\r\nabcd\r\n0\r\n\r\n${smuggled}`)],
    ['a negative chunk size', post('Transfer-Encoding: chunked', `-1\r\n\r\n0\r\n\r\n${smuggled}`)],
    [
      'a chunk size beyond every number',
      post('Transfer-Encoding: chunked', `fffffffffffffffff\r\nabcd\r\n0\r\n\r\n${smuggled}`),
    ],
    ['a chunk that is longer than it says', post('Transfer-Encoding: chunked', `3\r\nabcdef\r\n0\r\n\r\n${smuggled}`)],
    [
      'a chunk line that ends with a bare line feed',
      post('Transfer-Encoding: chunked', `4\nabcd\r\n0\r\n\r\n${smuggled}`),
    ],
    ['a line feed in a chunk extension', post('Transfer-Encoding: chunked', `4;a\nb\r\nabcd\r\n0\r\n\r\n${smuggled}`)],
    ['no version', `GET /v1/x\r\nHost: x\r\n${key}\r\n\r\n${smuggled}`],
    ['HTTP/2 spoken without asking', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a method that is none', `GE T /v1/x HTTP/1.1\r\nHost: x\r\n${key}\r\n\r\n${smuggled}`],
    ['two Host fields', `GET /v1/x HTTP/1.1\r\nHost: x\r\nHost: y\r\n${key}\r\n\r\n${smuggled}`],
  ])('is refused and its connection closed: %s', async (_, bytes) => {
    const { text, closed } = await send(bytes);
    expect(text === '' || /^HTTP\/1\.1 400 /.test(text), text.slice(0, 100)).toBe(true);
    expect(text.match(/HTTP\/1\.1 /g)?.length ?? 0).toBeLessThanOrEqual(1);
    expect(closed).toBe(true);
    // A body that turns out wrong may have begun at the backend, but never as a whole call.
    expect(seen).toEqual([]);
  });

  it('is none with a chunk extension, which ends here', async () => {
    const { text } = await send(
      post('Transfer-Encoding: chunked', '4;name="value"\r\nabcd\r\n0\r\nX-Trailer: y\r\n\r\n'),
    );
    expect(text).toMatch(/^HTTP\/1\.1 200 /);
    expect(seen).toMatchObject([{ line: 'POST /v1/x', body: 'abcd' }]);
  });

  it('is none where two calls follow each other in one write', async () => {
    const { text } = await send(post('Content-Length: 4', `abcd${smuggled.replace('smuggled', 'second')}`));
    expect(text.match(/HTTP\/1\.1 200 /g)).toHaveLength(2);
    expect(seen.map(({ line, body }) => [line, body])).toEqual([
      ['POST /v1/x', 'abcd'],
      ['GET /second', ''],
    ]);
  });
});

const get = (target: string, fields = '') =>
  send(`GET ${target} HTTP/1.1\r\nHost: x\r\n${key}\r\n${fields}Connection: close\r\n\r\n`);

describe('a caller who names another server', () => {
  it.each(['http://169.254.169.254/latest', 'https://evil.example/', 'evil.example:80', '*', 'HTTP://evil.example'])(
    'is refused: %s',
    async (target) => {
      expect((await get(target)).text).toMatch(/^HTTP\/1\.1 400 /);
      expect(seen).toEqual([]);
    },
  );

  it('gets no tunnel', async () => {
    const { text, closed } = await send(`CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n${key}\r\n\r\n`);
    expect([text.split('\r\n')[0], closed]).toEqual(['HTTP/1.1 405 Method Not Allowed', true]);
    expect(seen).toEqual([]);
  });

  it('reaches only the one that is configured, whatever the path or the fields say', async () => {
    const targets = [
      '//evil.example/x',
      '/\\evil.example',
      '/@evil.example/',
      '/%2e%2e//evil.example',
      '/http://evil.example/',
    ];
    for (const target of targets) await get(target);
    await get(
      '/x',
      'X-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\nX-Backend-Url: http://evil.example\r\n',
    );
    expect(seen.map(({ line }) => line)).toEqual([...targets, '/x'].map((target) => `GET ${target}`));
    expect(new Set(seen.map(({ headers }) => headers.host))).toEqual(new Set([backendHost]));
  });

  it('is not followed where a backend redirects', async () => {
    const { text } = await get('/redirect');
    expect(text).toMatch(/^HTTP\/1\.1 302 [\s\S]*Location: http:\/\/169\.254\.169\.254/);
    expect(seen).toHaveLength(1);
  });

  it('opens no other protocol', async () => {
    await send(`GET /ws HTTP/1.1\r\nHost: x\r\n${key}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
    expect(seen.map(({ headers }) => headers.upgrade)).toEqual([undefined]);
  });

  it('cannot have our fields dropped by naming them in Connection', async () => {
    await get('/x', 'X-Request-ID: mine\r\nConnection: Via, X-Request-ID\r\n');
    expect(seen[0]?.headers).toMatchObject({ 'x-request-id': 'mine', via: '1.1 completion-proxy' });
  });
});

describe('a caller who is slow or large', () => {
  it('is left while its head drips in, and costs nobody else a thing', async () => {
    const slow = await bundle.start({ BACKEND_URL: `http://${backendHost}`, HEADERS_TIMEOUT_MS: '400' });
    const socket = connect({ port: slow.port, host: '127.0.0.1' });
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
    });
    socket.on('error', () => {});
    socket.write('POST /v1/x HTTP/1.1\r\nHost: x\r\n');
    // A field now and then: the connection is never silent, and never done.
    const drip = setInterval(() => socket.write('X-Slow: 1\r\n'), 50);
    const closed = new Promise((resolve) => socket.on('close', resolve));
    await closed;
    clearInterval(drip);
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
    expect(seen).toEqual([]);
    const other = await fetch(`http://127.0.0.1:${slow.port}/x`, { headers: { 'X-Api-Key': 'proxy-key' } });
    expect(other.status).toBe(200);
  });

  it('is left after a silence in the middle of its body, and the backend learns of it', async () => {
    const { text, closed } = await send(post('Content-Length: 100', 'only this'), 5_000);
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
    expect(closed).toBe(true);
    expect(seen).toEqual([]);
  });

  it('is refused with a head above 64 KiB', async () => {
    const { text } = await get('/x', `X-Large: ${'v'.repeat(70_000)}\r\n`);
    expect(text).toMatch(/^HTTP\/1\.1 431 /);
    expect(seen).toEqual([]);
  });

  it('is refused above MAX_BODY_BYTES, said or not', async () => {
    const large = 'x'.repeat(1_100_000);
    const chunked = post('Transfer-Encoding: chunked', `${large.length.toString(16)}\r\n${large}\r\n0\r\n\r\n`);
    expect((await send(chunked)).text).toMatch(/^HTTP\/1\.1 413 /);
    expect((await send(post(`Content-Length: ${large.length}`, large))).text).toMatch(/^HTTP\/1\.1 413 /);
    expect(seen).toEqual([]);
  });
});

describe('a log', () => {
  it('has no line that a caller wrote', async () => {
    const forged = '[2026-01-01T00:00:00.000Z] [INFO] [127.0.0.1] [x] forged';
    const before = lines.length;
    await get(`/%0a${encodeURIComponent(forged)}`);
    await get('/x', `User-Agent: a\\n${forged}\r\nX-Request-ID: a b ${forged}\r\nX-Forwarded-For: ${forged}\r\n`);
    await get('/\u0085forged');
    const json = JSON.stringify({ model: `m\n${forged}\n{"level":"info","msg":"forged"}`, messages: [] });
    const fields = `Content-Type: application/json\r\nContent-Length: ${json.length}\r\nConnection: close`;
    await send(`POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n${key}\r\n${fields}\r\n\r\n${json}`);
    await until('the calls are in the log', () => (lines.length >= before + 3 ? true : undefined));
    // Every line is an object of ours; none that a caller wrote stands alone.
    for (const line of lines.slice(before))
      expect(JSON.parse(line)).toMatchObject({ time: expect.any(String), level: expect.any(String) });
    expect(lines.slice(before).map((line) => JSON.parse(line).msg)).not.toContain('forged');
    const { text } = await get('/logs');
    const shown = text
      .slice(text.indexOf('\r\n\r\n') + 4)
      .split('\n')
      .filter((line) => line !== '');
    for (const line of shown)
      expect(line).toMatch(/^\[[\d\-T:.]+Z\] \[(INFO|WARNING|ERROR)\] \[[\d.]+\] \[[\w.:-]{1,128}\] \S/);
    expect(shown.filter((line) => line.startsWith('[2026-01-01'))).toEqual([]);
  });
});
