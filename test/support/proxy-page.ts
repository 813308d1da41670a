import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfig } from '../../functions/completion-proxy/config.ts';
import { createProxy } from '../../functions/completion-proxy/proxy.ts';
import { startOllamaSandbox } from '../../sandbox/ollama.ts';
import { startOpenAiSandbox } from '../../sandbox/openai.ts';
import { chatChunk, cut, type ScriptedBackend, stall, startScriptedBackend, streamEvents } from './scripted-backend.ts';
import { serveHandler } from './serve.ts';

const keys = 'ada:ada-key\nbob:bob-key\nops:ops-key';
const callers = { ops: { admin: true }, '*': {} };

/** As a gateway does: what follows `prefix` reaches the function, without the prefix. While it is `down`, nothing is open and nothing opens. */
async function startGateway(prefix: string, target: () => string) {
  let isDown = false;
  const server: Server = createServer((req, res) => {
    if (isDown) return res.destroy();
    const url = req.url ?? '/';
    if (!url.startsWith(`${prefix}/`)) return res.writeHead(404).end('elsewhere');
    const upstream = request(target() + url.slice(prefix.length), { method: req.method, headers: req.headers });
    upstream.on('response', (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      res.flushHeaders();
      answer.pipe(res);
      answer.on('error', () => res.destroy());
    });
    upstream.on('error', () => (res.headersSent ? res.destroy() : res.writeHead(502).end('Bad Gateway')));
    res.on('close', () => upstream.destroy());
    return req.pipe(upstream);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${prefix}`,
    down(value: boolean) {
      isDown = value;
      if (value) server.closeAllConnections();
    },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/**
 * The whole completion proxy over simulated backends, for three keys of which one is an admin's: `gpu` (Ollama), `cloud`
 * (OpenAI) and `lab`, whose streams stall after a chunk (model `lab-stall`), break off (`lab-cut`) or name their model
 * `toldModel` (`lab-names`).
 */
export async function startProxyPage(env: Record<string, string> = {}, prefix = '/function/completion-proxy') {
  const ollama = await startOllamaSandbox({ chunkDelayMs: 10 });
  const openai = await startOpenAiSandbox({ chunkDelayMs: 10 });
  const told = { model: 'lab-names' };
  const lab: ScriptedBackend = await startScriptedBackend((res, call) => {
    const { model } = JSON.parse(call.body.toString('utf8') || '{}');
    if (model === 'lab-stall') return streamEvents([chatChunk('one')], stall)(res, call);
    if (model === 'lab-cut') return streamEvents([chatChunk('one'), chatChunk('two')], cut)(res, call);
    const usage = { prompt_tokens: 7, completion_tokens: 9, total_tokens: 16 };
    res.writeHead(200, { 'Content-Type': 'application/json' });
    return res.end(JSON.stringify({ id: 'c', model: told.model, choices: [{ finish_reason: 'stop' }], usage }));
  });
  const lastly = (name: string) =>
    JSON.stringify({ [name]: { input_cost_per_token: 1e-6, output_cost_per_token: 4e-6 } });
  // Without STORE_URL the records lie in the temporary folder: one of its own, else they are those of other tests as well.
  const { TMPDIR } = process.env;
  const folder = mkdtempSync(join(tmpdir(), 'proxy-page-'));
  process.env.TMPDIR = folder;
  // At once, while the folder is that one: the function's own entry opens its store later.
  const config = await readConfig({
    SECRET_MOUNT_PATH: '/nonexistent',
    FUNCTION_API_KEY: keys,
    CALLERS: JSON.stringify(callers),
    OPENAI_API_KEY: openai.credentials.OPENAI_API_KEY ?? Object.values(openai.credentials)[0],
    BACKENDS: JSON.stringify([
      { name: 'gpu', url: ollama.url, kind: 'ollama', models: ['llama*', 'qwen*'], max_concurrency: 4 },
      {
        name: 'cloud',
        url: openai.url,
        kind: 'openai',
        credential: 'openai-api-key',
        order: 2,
        aliases: { 'llama3.2': 'gpt-4o-mini' },
        models: ['gpt-*', 'llama3.2'],
      },
      { name: 'lab', url: lab.url, kind: 'openai', models: ['lab-*', '<*'], healthcheck: false },
    ]),
    PRICES: lastly('llama3.2'),
    RETRIES: '1',
    RETRY_BASE_MS: '1',
    BREAKER_FAILURES: '0',
    LOG_LEVEL: 'error',
    ...env,
  });
  const handler = createProxy(config);
  if (TMPDIR === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = TMPDIR;
  const served = await serveHandler(handler);
  const gateway = await startGateway(prefix, () => served.url);
  const send = (key: string, body: object, headers: Record<string, string> = {}, signal?: AbortSignal) =>
    fetch(`${served.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Api-Key': key, ...headers },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'Why is the sky blue?' }], ...body }),
      ...(signal === undefined ? {} : { signal }),
    });
  return {
    ollama,
    openai,
    told,
    url: served.url,
    gateway,
    /** A call as a client makes it, read to its end; what fails on the way is how it ended. */
    async call(key: string, body: object, headers: Record<string, string> = {}): Promise<string> {
      try {
        return await (await send(key, body, headers)).text();
      } catch (error) {
        return String(error);
      }
    },
    /** A call that has its first byte and is left open; `leave` is the caller's. */
    async hold(key: string, body: object) {
      const gone = new AbortController();
      const answer = await send(key, { stream: true, ...body }, {}, gone.signal);
      await answer.body!.getReader().read();
      return { leave: () => gone.abort() };
    },
    async close() {
      gateway.close();
      await served.close();
      for (const one of [ollama, openai, lab]) await one.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
