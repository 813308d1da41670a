import { hash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRandom } from '../../sandbox/server.ts';
import { buildProxy, type ProxyBundle } from '../support/proxy-bundle.ts';
import { callRaw, type RawCall, toPairs } from '../support/raw-http.ts';

/** What the backend is to answer. */
interface Script {
  status: number;
  headers: string[];
  body: Buffer[];
  /** In chunks, with these trailers; else under one Content-Length. */
  chunked: boolean;
  trailers: [string, string][];
}

/** What the backend saw. */
interface Seen {
  method: string;
  target: string;
  headers: [string, string][];
  body: string;
}

interface Case {
  call: RawCall;
  script: Script;
}

const seed = 20_261_121;
const count = 400;

function generate(random: () => number): Case {
  const below = (limit: number) => Math.floor(random() * limit);
  const oneOf = <T>(items: readonly T[]): T => items[below(items.length)]!;
  const some = <T>(limit: number, make: () => T): T[] => Array.from({ length: below(limit + 1) }, make);
  const bytes = (limit: number) => {
    const start = below(256);
    return Buffer.from(Array.from({ length: below(limit) }, (_, index) => (start + index * 7 + (index >> 8)) % 256));
  };
  const chance = (share: number) => random() < share;

  const segments = ['a%20b', '%2e%2e', '%C3%A9', '..', '.', '', 'x;y=1', 'a+b', "q'(z)", '%2F', 'v1', '@', '~', '*'];
  const path = `/p${below(1000)}/${some(5, () => oneOf(segments)).join('/')}`;
  const queries = [
    'a=1',
    'a=2',
    'b',
    'c=',
    'd=%20+',
    '=x',
    '&',
    'e=%00',
    'list[]=1',
    'u=http://x/?y=1',
    '?',
    'q=%E2%82%AC',
  ];
  const target = path + (chance(0.6) ? `?${some(5, () => oneOf(queries)).join('&')}` : '');

  const fields: [string, () => string][] = [
    ['Accept', () => oneOf(['*/*', 'application/json', 'text/event-stream', 'a/b;q=0.5, c/d'])],
    ['ACCEPT-encoding', () => oneOf(['gzip', 'gzip, deflate, br', 'identity'])],
    ['Cookie', () => oneOf(['a=b', 'a=b; c="d e"', 'session=%7B%7D'])],
    ['X-Multi', () => String(below(100))],
    ['x-multi', () => `second ${below(100)}`],
    ['X-EMPTY', () => ''],
    ['User-Agent', () => 'differential/1.0 (test)'],
    ['If-None-Match', () => 'W/"abc", "def"'],
    ['Range', () => 'bytes=0-99'],
    ['X-Api-Key', () => 'for the backend'],
    ['X-Latin', () => 'caf\u00e9'],
    ['traceparent', () => '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
    ['X-Long', () => 'v'.repeat(below(4_000))],
    ['Origin', () => 'https://app.example'],
  ];
  const headers = some(7, () => oneOf(fields)).flatMap(([name, make]) => [name, make()]);

  const method = oneOf([
    'GET',
    'GET',
    'HEAD',
    'POST',
    'POST',
    'POST',
    'PUT',
    'PATCH',
    'DELETE',
    'OPTIONS',
    'PROPFIND',
    'REPORT',
  ]);
  const call: RawCall = { method, target, headers };
  const sends = /^(POST|PUT|PATCH|PROPFIND|REPORT)$/.test(method) ? chance(0.9) : method === 'DELETE' && chance(0.3);
  if (sends) {
    const boundary = `----b${below(1e9)}`;
    const multipart = Buffer.concat([
      Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="a b.bin"\r\n\r\n`),
      bytes(3_000),
      Buffer.from(`\r\n--${boundary}--\r\n`),
    ]);
    const [type, body] = oneOf<[string, Buffer[]]>([
      ['application/json', [Buffer.from(JSON.stringify({ model: 'llama2', n: below(1e6), text: 'ü€😀 "usage":{' }))]],
      ['application/json', [Buffer.from('{"cut":')]],
      ['application/octet-stream', [bytes(60_000)]],
      ['application/octet-stream', some(6, () => bytes(9_000))],
      ['text/plain', []],
      [`multipart/form-data; boundary=${boundary}`, [multipart]],
      ['application/json', [gzipSync('{"a":1}')]],
    ]);
    call.headers = [...headers, 'Content-Type', type];
    call.body = body.filter((chunk) => chunk.length > 0);
    call.chunked = chance(0.5);
    call.expectContinue = chance(0.15);
  }

  const answered: [string, () => string][] = [
    ['Set-Cookie', () => `s${below(9)}=${below(99)}; Path=/; HttpOnly`],
    ['X-Multi', () => String(below(100))],
    ['x-MULTI', () => String(below(100))],
    ['ETag', () => '"abc"'],
    ['Location', () => 'https://elsewhere.example/a%20b?c=d'],
    ['Vary', () => 'Accept, Origin'],
    ['Server', () => 'backend/1'],
    ['X-Empty', () => ''],
    ['WWW-Authenticate', () => 'Bearer realm="backend"'],
    ['Cache-Control', () => 'no-store'],
    ['X-Latin', () => 'na\u00efve'],
  ];
  const status = oneOf([
    200, 200, 200, 200, 201, 202, 203, 204, 206, 301, 302, 304, 400, 401, 403, 404, 409, 413, 418, 422,
  ]);
  const bodiless = method === 'HEAD' || status === 204 || status === 304;
  const [type, body] = oneOf<[string[], Buffer[]]>([
    [['Content-Type', 'application/json'], [Buffer.from('{"ok":true}')]],
    [['Content-Type', 'application/octet-stream'], [bytes(80_000)]],
    [['Content-Type', 'text/event-stream'], some(8, () => Buffer.from(`data: {"n":${below(100)}}\n\n`))],
    [['Content-Type', 'application/x-ndjson'], some(8, () => Buffer.from(`{"n":${below(100)}}\n`))],
    [['Content-Type', 'text/html', 'Content-Encoding', 'gzip'], [gzipSync('<p>hello</p>')]],
    [[], []],
  ]);
  const chunked = !bodiless && chance(0.5);
  return {
    call,
    script: {
      status,
      headers: [...some(6, () => oneOf(answered)).flatMap(([name, make]) => [name, make()]), ...type],
      body: body.filter((chunk) => chunk.length > 0),
      chunked,
      trailers: chunked && chance(0.3) ? [['X-Checksum', String(below(1e6))]] : [],
    },
  };
}

/** Short, so that a difference is readable. */
const digestOf = (body: Buffer) => `${body.length} bytes ${hash('sha256', body).slice(0, 16)}`;

const random = createRandom(seed);
const cases = Array.from({ length: count }, () => generate(random));
const seen = new Map<string, Seen>();

const backend = createServer(async (req, res) => {
  const id = String(req.headers['x-case']);
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk as Buffer);
  seen.set(id, {
    method: req.method!,
    target: req.url!,
    headers: toPairs(req.rawHeaders),
    body: digestOf(Buffer.concat(chunks)),
  });
  const { status, headers, body, chunked, trailers } = cases[Number(id.split('-')[1])]!.script;
  const framed = [...headers, 'Date', 'Sat, 21 Nov 2026 07:00:00 GMT'];
  const hasLength = !chunked && status !== 204 && status !== 304;
  if (hasLength) framed.push('Content-Length', String(Buffer.concat(body).length));
  if (trailers.length > 0) framed.push('Trailer', 'X-Checksum');
  res.writeHead(status, framed);
  if (req.method !== 'HEAD') for (const chunk of body) res.write(chunk);
  if (trailers.length > 0) res.addTrailers(trailers);
  res.end();
});

let bundle: ProxyBundle;
let direct: string;
let proxied: string;

beforeAll(async () => {
  await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
  direct = `http://127.0.0.1:${(backend.address() as AddressInfo).port}`;
  bundle = await buildProxy();
  proxied = (await bundle.start({ BACKEND_URL: direct })).url;
}, 60_000);
afterAll(async () => {
  await bundle.close();
  backend.close();
  backend.closeAllConnections();
});

/** Between two neighbours, or ours by contract: the rest has to be the same, in order, spelling and repeats. */
const aside =
  /^(connection|keep-alive|transfer-encoding|trailer|expect|host|via|x-request-id|x-call-id|x-case|x-accel-buffering|authorization)$/i;
const kept = (pairs: [string, string][]) => pairs.filter(([name]) => !aside.test(name));

/** It frames the body: each sender writes its own, of the same value. */
const isLength = (name: string) => name.toLowerCase() === 'content-length';

async function compare(index: number) {
  const { call } = cases[index]!;
  // A body in chunks that is kept for another attempt is sent under its length.
  const reframed = call.chunked === true;
  const ask = async (way: string, origin: string, credentials: string[]) => {
    const id = `${way}-${index}`;
    const answer = await callRaw(origin, { ...call, headers: [...call.headers, 'X-Case', id, ...credentials] });
    const { headers, body, ...rest } = answer;
    const { headers: arrived, ...request } = seen.get(id)!;
    return {
      ...rest,
      body: digestOf(body),
      headers: kept(headers),
      backend: { ...request, headers: kept(arrived).filter(([name]) => !isLength(name)) },
      length: reframed ? undefined : (arrived.find(([name]) => isLength(name))?.[1] ?? '0'),
    };
  };
  const expected = await ask('direct', direct, []);
  const actual = await ask('proxied', proxied, ['Authorization', 'Bearer proxy-key']);
  expect(actual, `case ${index}: ${call.method} ${call.target}`).toEqual(expected);
}

it(`passes ${count} generated calls and their answers on byte for byte`, { timeout: 60_000 }, async () => {
  let next = 0;
  const work = async () => {
    while (next < count) await compare(next++);
  };
  await Promise.all(Array.from({ length: 8 }, work));
  // The cases are worth something only while each kind is among them.
  const calls = cases.map(({ call }) => call);
  const scripts = cases.map(({ script }) => script);
  expect(calls.filter(({ expectContinue }) => expectContinue).length).toBeGreaterThan(10);
  expect(calls.filter(({ body, chunked }) => body?.length === 0 && chunked).length).toBeGreaterThan(5);
  expect(calls.filter(({ method }) => method === 'HEAD').length).toBeGreaterThan(10);
  expect(scripts.filter(({ trailers }) => trailers.length > 0).length).toBeGreaterThan(10);
  expect(scripts.filter(({ headers }) => headers.includes('gzip')).length).toBeGreaterThan(10);
  expect([204, 304].every((status) => scripts.some((script) => script.status === status))).toBe(true);
});
