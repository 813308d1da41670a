import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import OpenAI from 'openai';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type BenchmarkTarget,
  measureRuns,
  readCached,
  writeCached,
} from '../../functions/completion-proxy/worker/benchmark/benchmark.ts';
import { startVastSandbox } from '../../sandbox/vast.ts';
import { openVastClient } from '../../tools/vast/client.ts';
import { until } from '../support/bundle-process.ts';
import { type Act, answerJson, hangUp, startScriptedBackend } from '../support/scripted-backend.ts';
import { startWorker, vastEnv } from '../support/vast-worker.ts';

const root = join(import.meta.dirname, '../..');
const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function startBackend(...acts: Act[]) {
  const backend = await startScriptedBackend(...acts);
  closing.push(() => backend.close());
  return backend;
}

async function startEndpoint(act: Act) {
  const worker = await startBackend(act);
  const sandbox = await startVastSandbox();
  closing.push(() => sandbox.close());
  sandbox.world.report({ id: 1, mtoken: '', url: worker.url, max_perf: 1, cur_load: 0, loadtime: 1, error_msg: '' });
  return { sandbox, worker };
}

const answer = answerJson(200, {
  id: 'c',
  object: 'chat.completion',
  choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'hello' } }],
  usage: { prompt_tokens: 1, completion_tokens: 40, total_tokens: 41 },
});

describe('the standalone client', () => {
  it('is a local port for any program, here the official SDK of OpenAI', async () => {
    const { sandbox, worker } = await startEndpoint(answer);
    const key = sandbox.credentials['vast-api-key'];
    const args = ['tools/vast/client.ts', '--endpoint', 'my-endpoint', '--port', '0', '--autoscaler-url', sandbox.url];
    const child = spawn(process.execPath, args, { cwd: root, env: { PATH: process.env.PATH, VAST_API_KEY: key } });
    closing.push(() => void child.kill('SIGKILL'));
    let log = '';
    child.stderr.on('data', (chunk) => (log += chunk));
    const port = await until('it listens', () => /"msg":"listening".*"port":(\d+)/.exec(log)?.[1]);
    const openai = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: 'none', maxRetries: 0 });
    const completion = await openai.chat.completions.create({
      model: 'm',
      messages: [{ role: 'user', content: 'hi' }],
    });
    expect(completion.choices[0]!.message.content).toBe('hello');
    // A path that is ours elsewhere is the worker's here.
    expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200);
    expect(worker.calls.map(({ url }) => url.split('?')[0])).toEqual(['/v1/chat/completions', '/health']);
    expect(log).not.toContain(key);
  });

  it('is importable', async () => {
    const { sandbox } = await startEndpoint(answer);
    const client = await openVastClient({
      endpoint: 'my-endpoint',
      apiKey: sandbox.credentials['vast-api-key'],
      autoscalerUrl: sandbox.url,
    });
    closing.push(() => client.close());
    const response = await client.fetch('/v1/chat/completions', { method: 'POST', body: '{"max_tokens": 9}' });
    expect([response.status, ((await response.json()) as { id: string }).id]).toEqual([200, 'c']);
    expect(sandbox.world.requests.get(1)!.cost).toBe(9);
  });

  it('takes no call from a web page of another machine that was not named', async () => {
    const { sandbox, worker } = await startEndpoint(answer);
    const client = await openVastClient({
      endpoint: 'my-endpoint',
      apiKey: sandbox.credentials['vast-api-key'],
      autoscalerUrl: sandbox.url,
      origins: ['https://app.example.com'],
    });
    closing.push(client.close);
    const post = (Origin: string) => client.fetch('/v1/chat/completions', { method: 'POST', headers: { Origin } });
    for (const origin of ['https://evil.example.com', 'http://localhost.evil.example.com', 'null']) {
      const refused = await post(origin);
      expect([refused.status, await refused.json()]).toEqual([
        403,
        expect.objectContaining({ code: 'origin_not_allowed' }),
      ]);
    }
    expect(worker.calls).toEqual([]);
    const named = await post('https://app.example.com');
    expect([named.status, named.headers.get('access-control-allow-origin')]).toEqual([200, 'https://app.example.com']);
    for (const origin of ['http://localhost:8010', 'http://127.0.0.1:3000'])
      expect((await post(origin)).status).toBe(200);
  });

  it('lists the endpoints of an account, and says what is missing', async () => {
    const { sandbox } = await startEndpoint(answer);
    const run = (...args: string[]) =>
      promisify(execFile)(process.execPath, ['tools/vast/client.ts', ...args], {
        cwd: root,
        env: { PATH: process.env.PATH },
      });
    const account = sandbox.credentials['vast-account-key'];
    const { stdout } = await run('--list', '--account-key', account, '--console-url', sandbox.url);
    expect(stdout).toBe('11\tmy-endpoint\n12\tgröße/ß\n');
    await expect(run('--endpoint', 'e')).rejects.toThrow('API key required! Use --api-key or set VAST_API_KEY env var');
    await expect(run()).rejects.toThrow('--endpoint is missing');
  });
});

describe('a benchmark', () => {
  const targetOf = (name: string, backendUrl: string, model?: string): BenchmarkTarget => ({
    name,
    backendUrl,
    model,
    headers: () => ({}),
  });
  const context = { signal: new AbortController().signal, log: { info: () => {}, warn: () => {} } };

  it.each<[string, string, number, object, object]>([
    ['openai', '/v1/completions', 81, { max_tokens: 500, temperature: 0.7 }, { usage: { completion_tokens: 40 } }],
    ['benchmarks.openai:benchmark', '/v1/completions', 81, {}, {}],
    ['benchmarks.openai_chat:benchmark', '/v1/chat/completions', 81, {}, {}],
    ['openai-chat', '/v1/chat/completions', 81, { max_tokens: 500 }, { usage: { completion_tokens: 40 } }],
    ['tgi', '/generate', 81, { parameters: { max_new_tokens: 256, temperature: 0.7, details: true } }, {}],
    [
      'ollama',
      '/api/generate',
      81,
      { options: { num_predict: 256, temperature: 0.7 }, stream: false },
      { eval_count: 9 },
    ],
    ['comfyui', '/runsync', 4, { input: { workflow_json: {} } }, {}],
  ])('%s asks %s, warm-up first, and gives a number for each run', async (name, path, requests, last, body) => {
    const backend = await startBackend(answerJson(200, body));
    const runs = await measureRuns(targetOf(name, backend.url, 'm'), context);
    expect(runs).toHaveLength(name === 'comfyui' ? 3 : 8);
    expect(Math.min(...runs)).toBeGreaterThan(0);
    expect([backend.calls.length, backend.calls.at(-1)!.url]).toEqual([requests, path]);
    expect(JSON.parse(backend.calls.at(-1)!.body.toString())).toMatchObject(last);
  });

  it('comfyui asks the newer wrapper where the backend has not the older one', async () => {
    const backend = await startBackend((res, call) =>
      answerJson(call.url === '/generate/sync' ? 200 : 404, {})(res, call),
    );
    expect(await measureRuns(targetOf('comfyui', backend.url), context)).toHaveLength(3);
    expect(backend.calls.map(({ url }) => url)).toEqual(['/runsync', ...Array(4).fill('/generate/sync')]);
    expect(JSON.parse(backend.calls[1]!.body.toString())).toEqual({
      input: {
        modifier: 'Text2Image',
        modifications: {
          prompt: expect.any(String),
          width: 512,
          height: 512,
          steps: 20,
          seed: expect.any(Number),
        },
      },
    });
    const broken = await startBackend((res, call) => answerJson(call.url === '/runsync' ? 500 : 200, {})(res, call));
    await expect(measureRuns(targetOf('comfyui', broken.url), context)).rejects.toThrow('500');
  });

  it('counts the tokens that were made, and not those that were asked for', async () => {
    const few = await startBackend(answerJson(200, { usage: { completion_tokens: 1 } }));
    const many = await startBackend(answerJson(200, {}));
    const best = async (url: string) => Math.max(...(await measureRuns(targetOf('openai', url, 'm'), context)));
    expect(await best(many.url)).toBeGreaterThan(10 * (await best(few.url)));
  });

  it('fails where the warm-up fails, where no run has a success, and for what nobody knows', async () => {
    const broken = await startBackend(answerJson(500, {}));
    await expect(measureRuns(targetOf('openai', broken.url, 'm'), context)).rejects.toThrow('500');
    let asked = 0;
    const dying = await startBackend((res, call) => answerJson(asked++ === 0 ? 200 : 500, {})(res, call));
    await expect(measureRuns(targetOf('comfyui', dying.url), context)).rejects.toThrow('500');
    await expect(measureRuns(targetOf('magic', broken.url), context)).rejects.toThrow('BENCHMARK: takes openai');
  });

  it('is a module of your own as well', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vast-bench-'));
    closing.push(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'mine.mjs');
    writeFileSync(
      file,
      'export const benchmark = async (url, { signal, log }) => { log.info("x"); return url.length; };',
    );
    expect(await measureRuns(targetOf(file, 'http://x'), context)).toEqual([8]);
    writeFileSync(join(folder, 'none.mjs'), 'export const other = 1;');
    await expect(measureRuns(targetOf(join(folder, 'none.mjs'), 'http://x'), context)).rejects.toThrow('no function');
    writeFileSync(join(folder, 'zero.mjs'), 'export const benchmark = async () => 0;');
    await expect(measureRuns(targetOf(join(folder, 'zero.mjs'), 'http://x'), context)).rejects.toThrow('no number');
  });

  it('is cached with what was measured; another model, backend or benchmark is not it, nor a predecessor’s file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vast-cache-'));
    closing.push(() => rmSync(folder, { recursive: true }));
    const file = join(folder, '.has_benchmark');
    const target = targetOf('openai', 'http://a', 'm');
    expect(await readCached(file, target)).toBeUndefined();
    await writeCached(file, target, 42.5);
    expect(await readCached(file, target)).toBe(42.5);
    for (const other of [
      targetOf('tgi', 'http://a', 'm'),
      targetOf('openai', 'http://b', 'm'),
      targetOf('openai', 'http://a'),
    ]) {
      expect(await readCached(file, other)).toBeUndefined();
    }
    writeFileSync(file, '1.0\n');
    expect(await readCached(file, target)).toBeUndefined();
    expect(readFileSync(file, 'utf8')).toBe('1.0\n');
  });

  it('takes none for none: a backend that counts no tokens has no throughput', async () => {
    const lazy = await startBackend(answerJson(200, { usage: { completion_tokens: 0 } }));
    await expect(measureRuns(targetOf('openai-chat', lazy.url, 'm'), context)).rejects.toThrow('did any work');
  });

  it('of a backend that dies in the middle is what it did before, and an error where that is nothing', async () => {
    let asked = 0;
    const dying = await startBackend((res, call) => (asked++ < 12 ? answer : hangUp)(res, call));
    const runs = await measureRuns(targetOf('openai-chat', dying.url, 'm'), context);
    expect([runs.length, runs[0]! > 0]).toEqual([2, true]);
    const dead = await startBackend(answer, hangUp);
    await expect(measureRuns(targetOf('openai-chat', dead.url, 'm'), context)).rejects.toThrow('The backend: network');
  });

  it('is measured anew by a worker whose backend serves another model now, and else not', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vast-cache-'));
    closing.push(() => rmSync(folder, { recursive: true }));
    const file = join(folder, '.has_benchmark');
    let model = 'first';
    const backend = await startBackend((res, call) =>
      (call.url === '/v1/models' ? answerJson(200, { data: [{ id: model }] }) : answer)(res, call),
    );
    /** How often the benchmark asks until the worker is loaded. */
    async function load(env: Record<string, string> = {}): Promise<number> {
      const sandbox = await startVastSandbox();
      const before = backend.calls.filter(({ method }) => method === 'POST').length;
      const worker = await startWorker({
        ...vastEnv(sandbox, 7, 3_000),
        BACKEND_URL: backend.url,
        BENCHMARK: 'openai-chat',
        BENCHMARK_CACHE_FILE: file,
        ...env,
      });
      await until('the worker is loaded', () => sandbox.world.workers.get(7)?.isLoaded || undefined);
      await worker.close();
      await sandbox.close();
      return backend.calls.filter(({ method }) => method === 'POST').length - before;
    }
    expect(await load()).toBe(81);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({
      backend: backend.url,
      model: 'first',
      benchmark: 'openai-chat',
      throughput: expect.any(Number),
    });
    expect(await load()).toBe(0);
    model = 'second';
    expect(await load()).toBe(81);
    expect(await load({ MODEL_NAME: 'first' })).toBe(81);
    rmSync(file);
    // What was measured elsewhere is not kept as if it had been measured here.
    expect(await load({ BENCHMARK: '50' })).toBe(0);
    expect(existsSync(file)).toBe(false);
  });

  it('is printed with its spread by npm run vast-bench', async () => {
    const backend = await startBackend(answer);
    const args = ['tools/vast/bench.ts', '--backend', backend.url, '--benchmark', 'openai-chat'];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root });
    expect(stdout).toMatch(
      /^throughput [\d.]+ per second, the best of 8 runs\nmean [\d.]+, standard deviation [\d.]+, worst/,
    );
    const dead = [...args.slice(0, 2), 'http://127.0.0.1:9', ...args.slice(3)];
    await expect(promisify(execFile)(process.execPath, dead, { cwd: root })).rejects.toThrow('could not be measured');
  });
});
