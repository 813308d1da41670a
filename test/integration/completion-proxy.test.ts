import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import createFunction from '../../functions/completion-proxy/index.ts';
import { startOllamaSandbox } from '../../sandbox/ollama.ts';
import { serveHandler } from '../support/serve.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function startProxy(env: NodeJS.ProcessEnv) {
  const proxy = await serveHandler(await createFunction({ AUTH: 'none', ...env }));
  closing.push(() => proxy.close());
  return proxy;
}

async function startOllama(chunkDelayMs = 0) {
  const ollama = await startOllamaSandbox({ chunkDelayMs });
  closing.push(() => ollama.close());
  return ollama;
}

async function startBackend(answer: (req: IncomingMessage, res: ServerResponse, body: Buffer) => void) {
  const server = createServer(async (req, res) => {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    answer(req, res, Buffer.concat(chunks));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface Answer {
  status: number;
  headers: string[];
  body: Buffer;
}

function call(url: string, options: { method?: string; headers?: string[]; body?: Buffer } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const path = url.slice(url.indexOf(port) + port.length) || '/';
    const { method = 'GET', headers = [] } = options;
    const req = request({ hostname, port, path, method, headers: ['Host', 'caller.example', ...headers] }, (res) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk) => chunks.push(chunk));
      res.on('error', reject);
      res.on('end', () =>
        resolve({ status: res.statusCode ?? 0, headers: res.rawHeaders, body: Buffer.concat(chunks) }),
      );
    });
    req.on('error', reject);
    req.end(options.body);
  });
}

const valuesOf = (raw: string[], name: string) =>
  raw.filter((_, index) => index % 2 === 1 && raw[index - 1]?.toLowerCase() === name);

const complete = (url: string, prompt: string, headers: Record<string, string> = {}) =>
  fetch(`${url}/completion`, { method: 'POST', body: JSON.stringify({ prompt }), headers });

describe('POST /completion', () => {
  it("answers Ollama's completion, asked without a stream and with the request id", async () => {
    const ollama = await startOllama();
    const proxy = await startProxy({ OLLAMA_URL: `${ollama.url}/api/generate`, HISTORY_CONTENT: 'full' });
    const answer = await complete(proxy.url, 'Hello', { 'X-Request-ID': 'req-7' });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-request-id')).toBe('req-7');
    expect(answer.headers.get('x-completion-source')).toBeNull();
    expect(await answer.json()).toEqual({ completion: expect.stringMatching(/\w+ \w+/) });
    expect(ollama.ledger[0]).toMatchObject({ path: '/api/generate', headers: { 'x-request-id': 'req-7' } });
    expect(JSON.parse(ollama.ledger[0]!.body)).toEqual({ model: 'llama2', stream: false, prompt: 'Hello' });

    const [entry] = (await (await fetch(`${proxy.url}/history`)).text()).trim().split('\n');
    expect(JSON.parse(entry!)).toMatchObject({ origin: '127.0.0.1', prompt: 'Hello', request_id: 'req-7' });
    const logs = await (await fetch(`${proxy.url}/logs`)).text();
    expect(logs).toMatch(/^\[[^\]]+\] \[INFO\] \[127\.0\.0\.1\] \[req-7\] Incoming request: POST \/completion$/m);
    expect(logs + proxy.lines.join('')).not.toContain('Hello');
  });

  it.each(['status', 'hang', 'html', 'reset'] as const)('falls back when Ollama fails: %s', async (kind) => {
    const ollama = await startOllama();
    ollama.faults.push({ kind, times: 1 });
    const proxy = await startProxy({ OLLAMA_URL: ollama.url, COMPLETION_TIMEOUT_MS: '200', RETRIES: '0' });
    const answer = await complete(proxy.url, 'Hello World');
    expect([answer.status, answer.headers.get('x-completion-source')]).toEqual([200, 'fallback']);
    expect(await answer.json()).toEqual({ completion: 'hElLo wOrLd' });
    expect(ollama.ledger).toHaveLength(1);
  });

  it('answers 502 or 504 instead where COMPLETION_FALLBACK is false', async () => {
    const ollama = await startOllama();
    ollama.faults.push({ kind: 'status', times: 1 }, { kind: 'hang', times: 1 });
    const env = { OLLAMA_URL: ollama.url, COMPLETION_FALLBACK: 'false', COMPLETION_TIMEOUT_MS: '200', RETRIES: '0' };
    const proxy = await startProxy(env);
    expect((await complete(proxy.url, 'x')).status).toBe(502);
    expect((await complete(proxy.url, 'x')).status).toBe(504);
  });

  it('asks an OpenAI backend where only a key is set', async () => {
    const openAi = await startOllama();
    const proxy = await startProxy({
      OPENAI_API_KEY: 'sk-secret',
      OPENAI_BASE_URL: `${openAi.url}/v1`,
      OPENAI_MODEL: 'llama2',
    });
    expect(await (await complete(proxy.url, 'Hello')).json()).toEqual({ completion: expect.any(String) });
    await fetch(`${proxy.url}/v1/models`);
    expect(openAi.ledger.map(({ path, headers }) => [path, headers.authorization])).toEqual([
      ['/v1/chat/completions', '[present]'],
      ['/v1/models', '[present]'],
    ]);
  });
});

describe('pass-through', () => {
  it('brings method, path, query, fields and a binary body byte for byte, and back', async () => {
    const seen: { req?: IncomingMessage; body?: Buffer } = {};
    const zipped = gzipSync(Buffer.from('an answer that stays packed'));
    const backend = await startBackend((req, res, body) => {
      Object.assign(seen, { req, body });
      res.writeHead(207, [
        ...['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'Content-Encoding', 'gzip', 'X-Odd', 'caf\u00e9'],
        ...['Content-Length', String(zipped.length), 'Keep-Alive', 'timeout=99', 'X-Hop', '1', 'Connection', 'X-Hop'],
      ]);
      res.end(zipped);
    });
    const proxy = await startProxy({ BACKEND_URL: `${backend}/base/` });
    const body = Buffer.from(Array.from({ length: 200_000 }, (_, index) => index % 256));
    const answer = await call(`${proxy.url}/x%2Fy//z?q=a%20b&q=a+b&e=`, {
      method: 'PUT',
      headers: ['X-Twice', '1', 'X-Twice', '2', 'X-Named', 'n', 'Connection', 'x-named', 'Content-Length', '200000'],
      body,
    });
    expect(seen.req?.method).toBe('PUT');
    expect(seen.req?.url).toBe('/base/x%2Fy//z?q=a%20b&q=a+b&e=');
    expect(seen.body?.equals(body)).toBe(true);
    const sent = seen.req?.rawHeaders ?? [];
    expect(valuesOf(sent, 'x-twice')).toEqual(['1', '2']);
    expect(valuesOf(sent, 'x-named')).toEqual([]);
    expect(valuesOf(sent, 'content-length')).toEqual(['200000']);
    expect(valuesOf(sent, 'host')).toEqual([new URL(backend).host]);
    expect(valuesOf(sent, 'x-request-id')).toHaveLength(1);

    expect(answer.status).toBe(207);
    expect(answer.body.equals(zipped)).toBe(true);
    expect(valuesOf(answer.headers, 'set-cookie')).toEqual(['a=1', 'b=2']);
    expect(valuesOf(answer.headers, 'content-length')).toEqual([String(zipped.length)]);
    expect(valuesOf(answer.headers, 'x-odd')).toEqual(['caf\u00e9']);
    expect(valuesOf(answer.headers, 'x-hop')).toEqual([]);
    expect(valuesOf(answer.headers, 'keep-alive')).not.toContain('timeout=99');
  });

  it('passes chunks on as they come', async () => {
    let next = (_chunk?: string) => {};
    const backend = await startBackend((_req, res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      next = (chunk) => (chunk === undefined ? res.end() : res.write(chunk));
      res.write('data: 1\n\n');
    });
    const proxy = await startProxy({ BACKEND_URL: backend });
    const reader = (await fetch(`${proxy.url}/v1/chat/completions`, { method: 'POST', body: '{}' })).body!.getReader();
    expect(Buffer.from((await reader.read()).value!).toString()).toBe('data: 1\n\n');
    // Each chunk is sent only after the one before has arrived: a hop that collects them would wait for ever.
    for (const chunk of ['data: 2\n\n', 'data: [DONE]\n\n']) {
      next(chunk);
      expect(Buffer.from((await reader.read()).value!).toString()).toBe(chunk);
    }
    next();
    expect((await reader.read()).done).toBe(true);
  });

  it.each([true, false])('stops the backend within 100 ms when the caller leaves (head seen: %s)', async (headSeen) => {
    const ollama = await startOllama(headSeen ? 50 : 0);
    if (!headSeen) ollama.faults.push({ kind: 'hang' });
    const proxy = await startProxy({ OLLAMA_URL: ollama.url });
    const leave = new AbortController();
    const body = JSON.stringify({ model: 'llama2', prompt: 'x' });
    const answer = fetch(`${proxy.url}/api/generate`, { method: 'POST', body, signal: leave.signal });
    answer.catch(() => {});
    if (headSeen) await (await answer).body!.getReader().read();
    else await expect.poll(() => ollama.ledger.length).toBe(1);
    const leftAt = performance.now();
    leave.abort();
    await expect.poll(() => ollama.ledger[0]?.aborted, { interval: 5, timeout: 1_000 }).toBe(true);
    expect(performance.now() - leftAt).toBeLessThan(100);
  });

  it("ends Ollama's stream with an error line when the backend dies in the middle", async () => {
    const ollama = await startOllama();
    ollama.faults.push({ kind: 'cut', afterBytes: 150 });
    const proxy = await startProxy({ OLLAMA_URL: ollama.url });
    const body = Buffer.from(JSON.stringify({ model: 'llama2', prompt: 'x' }));
    const answer = await call(`${proxy.url}/api/generate`, { method: 'POST', body });
    expect(JSON.parse(answer.body.toString().trim().split('\n').at(-1)!)).toEqual({
      error: 'The backend could not be reached',
    });
  });

  it('breaks any other answer off when the backend dies in the middle', async () => {
    const backend = await startBackend((_req, res) => {
      res.writeHead(200, { 'Content-Type': 'application/octet-stream' });
      res.write('half', () => res.destroy());
    });
    const proxy = await startProxy({ BACKEND_URL: backend });
    await expect(call(`${proxy.url}/file`)).rejects.toThrow(/aborted|hang up|RESET/);
  });

  it('takes from the backend only as fast as the caller reads', async () => {
    let sent = 0;
    const total = 64 * 1024 * 1024;
    const backend = await startBackend((_req, res) => {
      const block = Buffer.alloc(64 * 1024);
      const fill = () => {
        while (sent < total) {
          sent += block.length;
          if (!res.write(block)) return;
        }
        res.end();
      };
      res.on('drain', fill);
      fill();
    });
    const proxy = await startProxy({ BACKEND_URL: backend });
    const { hostname, port } = new URL(proxy.url);
    const req = request({ hostname, port, path: '/big' }, (res) => res.pause());
    req.on('error', () => {}).end();
    let before = -1;
    await expect
      .poll(
        () => {
          const still = sent > 0 && sent === before;
          before = sent;
          return still;
        },
        { interval: 200, timeout: 5_000 },
      )
      .toBe(true);
    expect(sent).toBeLessThan(total / 2);
    req.destroy();
  });

  it('passes HEAD, 204 and 304 without a body', async () => {
    const backend = await startBackend((req, res) => {
      res.writeHead(Number(req.url?.slice(1)), req.method === 'HEAD' ? { 'Content-Length': '42' } : {});
      res.end();
    });
    const proxy = await startProxy({ BACKEND_URL: backend });
    const head = await call(`${proxy.url}/200`, { method: 'HEAD' });
    expect([head.status, valuesOf(head.headers, 'content-length')]).toEqual([200, ['42']]);
    expect((await call(`${proxy.url}/204`)).status).toBe(204);
    expect((await call(`${proxy.url}/304`)).status).toBe(304);
  });

  it('names BACKEND_URL where nothing is configured', async () => {
    const proxy = await startProxy({});
    const answer = await fetch(`${proxy.url}/v1/models`);
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ error: { message: expect.stringContaining('BACKEND_URL') } });
  });

  it('answers 502 for a backend that refuses, 504 for one that is silent, in the dialect of the path', async () => {
    const ollama = await startOllama();
    ollama.faults.push({ kind: 'hang' });
    const slow = await startProxy({ BACKEND_URL: ollama.url, BACKEND_FIRST_BYTE_TIMEOUT_MS: '100' });
    const late = await fetch(`${slow.url}/api/tags`);
    expect([late.status, await late.json()]).toEqual([504, { error: 'The backend did not answer in time' }]);
    const dead = await startProxy({ BACKEND_URL: 'http://127.0.0.1:9' });
    const refused = await fetch(`${dead.url}/v1/messages`, { method: 'POST', body: '{}' });
    expect(refused.status).toBe(502);
    expect(await refused.json()).toMatchObject({ type: 'error', error: { type: 'api_error' } });
  });

  it('never shows the backend the key that opened our door', async () => {
    const seen: string[][] = [];
    const backend = await startBackend((req, res) => {
      seen.push(req.rawHeaders);
      res.end();
    });
    const proxy = await startProxy({ AUTH: 'api-key', FUNCTION_API_KEY: 'n8n:our-key', BACKEND_URL: backend });
    expect((await call(`${proxy.url}/logs`)).status).toBe(401);
    expect((await call(`${proxy.url}/history`)).status).toBe(401);
    await call(`${proxy.url}/a`, { headers: ['Authorization', 'Bearer our-key', 'X-Api-Key', 'sk-ant'] });
    await call(`${proxy.url}/b`, { headers: ['X-Api-Key', 'our-key'] });
    await call(`${proxy.url}/c`, { headers: ['Authorization', 'Bearer our-key', 'X-Api-Key', 'our-key'] });
    expect(seen).toHaveLength(3);
    expect(seen.flat().join('\n')).not.toContain('our-key');
    expect(valuesOf(seen[0]!, 'x-api-key')).toEqual(['sk-ant']);
  });
});
