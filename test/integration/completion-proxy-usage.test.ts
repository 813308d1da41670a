import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLogger } from '#shared/log.ts';
import { readConfig } from '../../functions/completion-proxy/config.ts';
import { createProxy } from '../../functions/completion-proxy/proxy.ts';
import { unpackRecords } from '../../functions/completion-proxy/records/batch.ts';
import { createHistory } from '../../functions/completion-proxy/records/history.ts';
import type { CallRecord } from '../../functions/completion-proxy/records/record.ts';
import { startAnthropicSandbox } from '../../sandbox/anthropic.ts';
import { startOllamaSandbox } from '../../sandbox/ollama.ts';
import { startOpenAiSandbox } from '../../sandbox/openai.ts';
import { until } from '../support/bundle-process.ts';
import { makeRecord } from '../support/call-record.ts';
import { serveHandler } from '../support/serve.ts';

type Json = Record<string, never>;
const folder = mkdtempSync(join(tmpdir(), 'proxy-usage-'));
const closing: (() => Promise<void>)[] = [() => Promise.resolve(rmSync(folder, { recursive: true }))];
const records: CallRecord[] = [];
const origins: Record<string, string> = {};
let proxyUrl = '';

beforeAll(async () => {
  const options = { chunkDelayMs: 0 };
  const [openai, ollama, anthropic] = await Promise.all([
    startOpenAiSandbox(options),
    startOllamaSandbox(options),
    startAnthropicSandbox(options),
  ]);
  closing.push(openai.close, ollama.close, anthropic.close);
  Object.assign(origins, { openai: openai.url, ollama: ollama.url, anthropic: anthropic.url });
  const price = { input_cost_per_token: 1e-6, output_cost_per_token: 1e-5 };
  writeFileSync(
    join(folder, 'prices.json'),
    JSON.stringify({
      sample_spec: { input_cost_per_token: 0, mode: 'chat' },
      'gpt-4o-mini': { ...price, litellm_provider: 'openai', max_tokens: 16_384 },
      'text-embedding-3-small': { input_cost_per_token: 1e-6 },
      'claude-haiku-4-5': price,
      'llama3.2:latest': price,
      overridden: price,
    }),
  );
  const config = await readConfig({
    AUTH: 'none',
    COLLECT_STREAM_USAGE: 'true',
    PRICES_FILE: join(folder, 'prices.json'),
    BACKENDS: JSON.stringify([
      { name: 'openai', url: openai.url, kind: 'openai', credential: 'k-openai', models: ['gpt-4o-mini', 'text-*'] },
      { name: 'anthropic', url: anthropic.url, kind: 'anthropic', credential: 'k-anthropic', models: ['claude-*'] },
      { name: 'ollama', url: ollama.url, kind: 'ollama', models: ['llama*'] },
    ]),
    K_OPENAI: openai.credentials['openai-api-key'],
    K_ANTHROPIC: anthropic.credentials['anthropic-api-key'],
  });
  const proxy = await serveHandler(createProxy(config, { sink: (record) => records.push(record) }));
  closing.push(() => proxy.close());
  proxyUrl = proxy.url;
});
afterAll(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const messages = [{ role: 'user', content: 'Why is the sky blue, and the sea as well?' }];
const keys: Record<string, Record<string, string>> = {
  openai: { Authorization: 'Bearer sk-sandbox-openai' },
  anthropic: { 'x-api-key': 'sk-ant-sandbox', 'anthropic-version': '2023-06-01' },
  ollama: {},
};
const ask = async (url: string, path: string, headers: object, body: object) => {
  const answer = await fetch(url + path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  expect(answer.status).toBe(200);
  return answer.text();
};

const counted = (answer: { usage?: Json } & Json) => {
  const usage: Record<string, number | undefined> = answer.usage ?? answer;
  return {
    input: usage.prompt_tokens ?? usage.input_tokens ?? usage.prompt_eval_count,
    output: usage.completion_tokens ?? usage.output_tokens ?? usage.eval_count,
  };
};

const llama = 'llama3.2:latest';
const calls: [backend: string, path: string, body: object][] = [
  ['openai', '/v1/chat/completions', { model: 'gpt-4o-mini', messages }],
  ['openai', '/v1/completions', { model: 'gpt-4o-mini', prompt: 'Once upon a time' }],
  ['openai', '/v1/responses', { model: 'gpt-4o-mini', input: 'Once upon a time' }],
  ['openai', '/v1/embeddings', { model: 'text-embedding-3-small', input: ['one', 'two words'] }],
  ['anthropic', '/v1/messages', { model: 'claude-haiku-4-5', max_tokens: 50, messages }],
  ['ollama', '/api/chat', { model: llama, messages }],
  ['ollama', '/api/generate', { model: llama, prompt: 'Once upon a time' }],
  ['ollama', '/v1/chat/completions', { model: llama, messages }],
  ['ollama', '/v1/completions', { model: llama, prompt: 'Once upon a time' }],
  ['ollama', '/v1/responses', { model: llama, input: 'Once upon a time' }],
  ['ollama', '/v1/messages', { model: llama, max_tokens: 50, messages }],
];

describe("usage and cost are the backend's own count", () => {
  it.each(
    calls.flatMap(([backend, path, body]) =>
      (path === '/v1/embeddings' ? [false] : [false, true]).map((stream) => ({ backend, path, body, stream })),
    ),
  )('$backend $path, stream: $stream', async ({ backend, path, body, stream }) => {
    const own = JSON.parse(await ask(origins[backend]!, path, keys[backend]!, { ...body, stream: false }));
    const { input, output } = counted(own);
    expect(input).toBeGreaterThan(0);
    records.length = 0;
    const version = { 'anthropic-version': '2023-06-01' };
    await ask(proxyUrl, path, version, path === '/v1/embeddings' ? body : { ...body, stream });
    const record = await until('the call is recorded', () => records[0]);
    expect(record).toMatchObject({
      backend,
      stream,
      outcome: 'ok',
      tokens: { input, ...(output === undefined ? {} : { output }) },
      usage_source: 'upstream',
    });
    // In millionths of a dollar: one for a token of the input, ten for one of the output.
    expect(Math.round(Number(record.cost_usd) * 1e6)).toBe(input! + 10 * (output ?? 0));
  });
});

describe('a store that is down', () => {
  it('fails no call of a minute under load, and counts what it lost', async () => {
    let isDown = true;
    const kept: CallRecord[] = [];
    let lost = 0;
    const history = createHistory({
      store: {
        log: {
          append: async (_stream: string, value: unknown) => {
            if (isDown) throw new Error('the store is down');
            kept.push(...unpackRecords(value));
            return '1';
          },
          page: async () => ({ entries: [] }),
          prune: async () => 0,
        },
      } as never,
      log: createLogger({ write: () => undefined }),
      now: Date.now,
      keepMs: 1e9,
      keepRecords: 1e6,
      onLost: (count) => {
        lost += count;
      },
      flushMs: 1,
    });
    // A minute of 500 calls a second, each told as the recorder tells it.
    for (let second = 0; second < 60; second += 1) {
      for (let call = 0; call < 500; call += 1) history.add(makeRecord(`c${second * 500 + call}`));
      await new Promise((resolve) => setImmediate(resolve));
    }
    isDown = false;
    await history.close();
    expect(kept.length + lost).toBe(30_000);
    expect(kept.length).toBeGreaterThanOrEqual(9_900);
    expect(kept.at(-1)!.id).toBe('c29999');
  });

  it('is a PostgreSQL that nobody reaches: every call through the road is answered, and what does not fit is counted', async () => {
    const config = await readConfig({
      AUTH: 'none',
      OLLAMA_URL: origins.ollama,
      STORE_URL: 'postgres://nobody:nothing@127.0.0.1:1/none',
      CALLERS: '{"*":{"requests_per_minute":100000,"admin":true}}',
    });
    const write = process.stderr.write;
    let written = '';
    process.stderr.write = ((text: string) => {
      written += text;
      return true;
    }) as never;
    try {
      const proxy = await serveHandler(createProxy(config, { maxWaiting: 50 }));
      const askTimes = (times: number) =>
        Promise.all(
          Array.from({ length: times }, () =>
            ask(proxy.url, '/api/generate', {}, { model: llama, prompt: 'Hi', stream: false }),
          ),
        );
      const answers = await askTimes(20);
      await expect.poll(() => written, { timeout: 5_000 }).toContain('the store takes no records: they wait');
      answers.push(...(await askTimes(180)));
      expect(answers).toHaveLength(200);
      const metrics = await (await fetch(`${proxy.url}/metrics`)).text();
      expect(metrics).toMatch(/completion_proxy_requests_total\{[^}]*\} 200/);
      // Each once: those that the fifty places of the newest do not hold.
      expect(metrics).toContain('completion_proxy_lost_records_total{where="history"} 150\n');
      await proxy.close();
    } finally {
      process.stderr.write = write;
    }
  });
});
