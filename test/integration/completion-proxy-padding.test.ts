import { setTimeout as pause } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { pad } from '../../functions/completion-proxy/road/padding.ts';
import { startOllamaSandbox } from '../../sandbox/ollama.ts';
import { until } from '../support/bundle-process.ts';
import { closeAfterEach, closeLater, startBackend, startProxy } from '../support/proxy-road.ts';
import { type Act, chatChunk, hangUp } from '../support/scripted-backend.ts';

closeAfterEach();

const padText = pad.toString();
const done = 'data: [DONE]\n\n';
const usage = { prompt_tokens: 11, completion_tokens: 2, total_tokens: 13 };
const usageChunk = `data: ${JSON.stringify({ id: 'c', choices: [], usage })}\n\n`;

/** These bytes, and between two of them time for a pad. */
const slowly =
  (pieces: string[], headers: Record<string, string | number> = { 'Content-Type': 'text/event-stream' }): Act =>
  async (res) => {
    res.writeHead(200, headers);
    for (const [index, piece] of pieces.entries()) {
      if (index > 0) await pause(250);
      res.write(piece);
    }
    res.end();
  };

const padded = (url: string, more: Record<string, unknown> = {}) =>
  startProxy({ BACKEND_URL: url, BACKEND_KIND: 'openai', STREAM_PADDING: 'auto', ...more });

interface Asked {
  path?: string;
  body?: object;
  headers?: Record<string, string>;
}

async function ask(url: string, { path = '/v1/chat/completions', body = {}, headers = {} }: Asked = {}) {
  const answer = await fetch(url + path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'application/json', ...headers },
    body: JSON.stringify({ model: 'm', stream: true, messages: [], ...body }),
  });
  return { answer, text: await answer.text() };
}

const padsIn = (text: string) => text.split(padText).length - 1;
const withoutPads = (text: string) => text.replaceAll(padText, '');

async function bytesOf(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^completion_proxy_padding_bytes_total (\d+)$/m.exec(text)?.[1] ?? 0);
}

describe('a stream whose Accept does not make every hop flush', () => {
  const pieces = [chatChunk('a'), chatChunk('b', 'stop') + done];

  it('is padded after what was sent with STREAM_PADDING=auto, and the bytes are counted', async () => {
    const backend = await startBackend(slowly(pieces));
    const proxy = await padded(backend.url);
    const { text } = await ask(proxy.url);
    expect(text).toBe(pieces[0]! + padText + pieces[1]!);
    expect(await bytesOf(proxy.url)).toBe(pad.length);
    await ask(proxy.url);
    expect(await bytesOf(proxy.url)).toBe(2 * pad.length);
  });

  it('is left as it is without the setting', async () => {
    const backend = await startBackend(slowly(pieces));
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai' });
    expect((await ask(proxy.url)).text).toBe(pieces.join(''));
    expect(await bytesOf(proxy.url)).toBe(0);
  });

  it('is padded also where nothing is recorded', async () => {
    const backend = await startBackend(slowly(pieces));
    const proxy = await padded(backend.url, { RECORD_CALLS: 'false' });
    expect(padsIn((await ask(proxy.url)).text)).toBe(1);
    expect(await bytesOf(proxy.url)).toBe(pad.length);
  });
});

describe('nothing is added', () => {
  const pieces = [chatChunk('a'), chatChunk('b', 'stop') + done];
  const sse = { 'Content-Type': 'text/event-stream' };
  const lines = ['{"message":{"content":"a"},"done":false}\n', '{"message":{"content":""},"done":true}\n'];

  it.each<[string, Act, Asked]>([
    ['where Accept makes every hop flush', slowly(pieces), { headers: { Accept: 'text/event-stream' } }],
    ['where no stream was asked for', slowly(pieces), { body: { stream: false } }],
    ['to a stream that has a length', slowly(pieces, { ...sse, 'Content-Length': pieces.join('').length }), {}],
    ['to JSON', slowly(['{"a":', '1}'], { 'Content-Type': 'application/json' }), {}],
    [
      "to Ollama's lines, which have no comments",
      slowly(lines, { 'Content-Type': 'application/x-ndjson' }),
      { path: '/api/chat' },
    ],
    [
      'to the text of /completion, whose model is asked by ourselves',
      slowly(pieces),
      { path: '/completion', body: { prompt: 'hi' } },
    ],
    ['to a path that is no model call', slowly(pieces), { path: '/v1/threads/runs' }],
  ])('%s', async (_, act, asked) => {
    const backend = await startBackend(act);
    const proxy = await padded(backend.url);
    const { text } = await ask(proxy.url, asked);
    expect(text.length).toBeLessThan(1_000);
    expect(await bytesOf(proxy.url)).toBe(0);
  });

  it('to a stream that has a length, nor a ping', async () => {
    const whole = pieces.join('');
    const backend = await startBackend(slowly(pieces, { ...sse, 'Content-Length': whole.length }));
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai', SSE_PING_S: '0.05' });
    const { answer, text } = await ask(proxy.url);
    expect([answer.headers.get('content-length'), text]).toEqual([String(whole.length), whole]);
  });

  it('to what is compressed', async () => {
    const zipped = gzipSync(pieces.join(''));
    const backend = await startBackend(async (res) => {
      res.writeHead(200, { ...sse, 'Content-Encoding': 'gzip' });
      res.write(zipped.subarray(0, 20));
      await pause(250);
      res.end(zipped.subarray(20));
    });
    const proxy = await padded(backend.url);
    expect((await ask(proxy.url)).text).toBe(pieces.join(''));
    expect(await bytesOf(proxy.url)).toBe(0);
  });

  it('to an error that comes as events', async () => {
    const backend = await startBackend(async (res) => {
      res.writeHead(400, sse);
      res.write('data: {"error":"no"}\n\n');
      await pause(250);
      res.end(done);
    });
    const proxy = await padded(backend.url);
    const { answer, text } = await ask(proxy.url);
    expect([answer.status, text]).toEqual([400, `data: {"error":"no"}\n\n${done}`]);
    expect(await bytesOf(proxy.url)).toBe(0);
  });
});

describe('a padded stream', () => {
  const pieces = [chatChunk('a'), chatChunk('b'), chatChunk('', 'stop'), usageChunk, done];

  it.each([
    ['\n', 3],
    ['\n', 17],
    ['\r\n', 5],
    ['\r\n', 64],
  ])('is the same byte for byte without its comments, with breaks %j in pieces of %i bytes', async (newline, size) => {
    const whole = Array.from({ length: 6 }, (_, index) => chatChunk(`é ${index}`))
      .concat(pieces)
      .join('')
      .replaceAll('\n', newline);
    const bytes = Buffer.from(whole);
    const backend = await startBackend(async (res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      for (let at = 0; at < bytes.length; at += size) {
        res.write(bytes.subarray(at, at + size));
        // Three quarters of a second for the whole, however it is cut.
        if (Math.floor((at * 25) / bytes.length) < Math.floor(((at + size) * 25) / bytes.length)) await pause(30);
      }
      res.end();
    });
    const proxy = await padded(backend.url);
    const { text } = await ask(proxy.url);
    expect(withoutPads(text)).toBe(whole);
    const before = text.split(padText).slice(0, -1);
    expect(before.length).toBeGreaterThanOrEqual(2);
    for (const part of before) expect(part.endsWith(newline + newline)).toBe(true);
    expect((await proxy.next()).tokens).toEqual({ input: 11, output: 2 });
  });

  it('hides the usage chunk that its caller did not ask for, and none of it is in the record', async () => {
    const backend = await startBackend(slowly(pieces));
    const [off, on] = await Promise.all([
      startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai', COLLECT_STREAM_USAGE: 'true' }),
      padded(backend.url, { COLLECT_STREAM_USAGE: 'true', HISTORY_CONTENT: 'full' }),
    ]);
    const [plain, filled] = await Promise.all([ask(off.url), ask(on.url)]);
    expect(padsIn(filled.text)).toBeGreaterThanOrEqual(2);
    expect(withoutPads(filled.text)).toBe(plain.text);
    expect(plain.text).toBe(pieces.toSpliced(3, 1).join(''));
    const [one, other] = [await off.next(), await on.next()];
    expect(other.tokens).toEqual(one.tokens);
    expect(other.tokens).toEqual({ input: 11, output: 2 });
    expect(JSON.stringify(other).length).toBeLessThan(pad.length);
  });

  it('has its first byte when the backend sends it, and comes from the next backend when the first one refuses', async () => {
    const dead = await startBackend(hangUp);
    const backend = await startBackend(async (res) => {
      await pause(150);
      slowly(pieces)(res, undefined as never);
    });
    const proxy = await startProxy({
      BACKENDS: [
        { name: 'dead', url: dead.url, kind: 'openai' },
        { name: 'well', url: backend.url, kind: 'openai', order: 2 },
      ],
      STREAM_PADDING: 'auto',
      RETRIES: '0',
    });
    const { text } = await ask(proxy.url);
    expect(withoutPads(text)).toBe(pieces.join(''));
    expect(text.startsWith(pieces[0]!)).toBe(true);
    const record = await proxy.next();
    expect(record.backend).toBe('well');
    expect(record.first_byte_ms).toBeGreaterThanOrEqual(145);
  });

  it('tells that its backend died in its own form, after the comments', async () => {
    const backend = await startBackend(async (res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      res.write(chatChunk('a'));
      await pause(250);
      res.write('data: {"half');
      await pause(20);
      res.destroy();
    });
    const proxy = await padded(backend.url);
    const { text } = await ask(proxy.url);
    expect(text.startsWith(`${chatChunk('a')}${padText}data: {"half\n\ndata: {"error":`)).toBe(true);
    expect((await proxy.next()).outcome).toBe('upstream_error');
  });

  it('pushes its pings through as well, before there is an answer, and the next backend or an error may still follow', async () => {
    const backend = await startBackend(
      async (res) => {
        await pause(500);
        res.writeHead(200, { 'Content-Type': 'text/event-stream' });
        res.end(pieces.join(''));
      },
      async (res) => {
        await pause(500);
        res.writeHead(404, { 'Content-Type': 'application/json' }).end('{"error":{"message":"none"}}');
      },
    );
    const proxy = await padded(backend.url, { SSE_PING_S: '0.2', RETRIES: '0' });
    const { text } = await ask(proxy.url);
    expect(text.startsWith(`: ping\n\n${padText}`)).toBe(true);
    expect(withoutPads(text).replaceAll(': ping\n\n', '')).toBe(pieces.join(''));
    const failed = await ask(proxy.url);
    expect(failed.text.startsWith(`: ping\n\n${padText}`)).toBe(true);
    expect(withoutPads(failed.text).replaceAll(': ping\n\n', '')).toMatch(
      /^data: \{"error":\{"message":"none".*\}\n\n$/,
    );
  });

  it('ends with its caller: no comment goes to who has left, though the backend goes on', async () => {
    const backend = await startBackend(async (res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      res.write(chatChunk('a'));
      await pause(300);
      res.write(chatChunk('b'));
      await pause(250);
      res.end(done);
    });
    const proxy = await padded(backend.url, { CANCEL_ON_DISCONNECT: 'false' });
    const leaving = new AbortController();
    const answer = await fetch(`${proxy.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: 'm', stream: true }),
      headers: { 'Content-Type': 'application/json' },
      signal: leaving.signal,
    });
    const reader = answer.body!.getReader();
    await reader.read();
    await until('the first pad', async () => ((await bytesOf(proxy.url)) > 0 ? true : undefined));
    leaving.abort();
    await reader.read().catch(() => undefined);
    expect((await proxy.next()).outcome).toBe('client_abort');
    expect(await bytesOf(proxy.url)).toBe(pad.length);
  });
});

describe('the official clients read from a padded stream what they read from the backend', () => {
  async function collect<T>(stream: AsyncIterable<T>): Promise<string> {
    const items: T[] = [];
    for await (const item of stream) items.push(item);
    return JSON.stringify(items, (key, value) => (/^(created|created_at|id|item_id)$/.test(key) ? 'some' : value));
  }
  const messages = [{ role: 'user' as const, content: 'Count from one to ten' }];

  it.each<[string, (url: string) => Promise<string>]>([
    [
      'openai chat completions',
      async (url) => {
        const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'key', maxRetries: 0 });
        return collect(await client.chat.completions.create({ model: 'llama2', stream: true, messages }));
      },
    ],
    [
      'openai responses',
      async (url) => {
        const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'key', maxRetries: 0 });
        return collect(await client.responses.create({ model: 'llama2', stream: true, input: 'Count to ten' }));
      },
    ],
    [
      'anthropic messages',
      async (url) => {
        const client = new Anthropic({ baseURL: url, apiKey: 'key', maxRetries: 0 });
        return collect(await client.messages.create({ model: 'llama2', max_tokens: 99, stream: true, messages }));
      },
    ],
  ])('%s', async (_, read) => {
    const sandbox = await startOllamaSandbox({ chunkDelayMs: 60 });
    closeLater(() => sandbox.close());
    const proxy = await startProxy({ OLLAMA_URL: sandbox.url, STREAM_PADDING: 'auto' });
    const [direct, through] = await Promise.all([read(sandbox.url), read(proxy.url)]);
    expect(through).toBe(direct);
    expect(await bytesOf(proxy.url)).toBeGreaterThanOrEqual(pad.length);
  });
});
