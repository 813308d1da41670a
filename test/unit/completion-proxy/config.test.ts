import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createPatterns } from '../../../functions/completion-proxy/backends/patterns.ts';
import { createUpstream } from '../../../functions/completion-proxy/backends/upstream.ts';
import { readConfig } from '../../../functions/completion-proxy/config.ts';
import { planCall } from '../../../functions/completion-proxy/routing/plan.ts';

const read = async (BACKENDS: unknown, env: NodeJS.ProcessEnv = {}) =>
  (await readConfig({ BACKENDS: typeof BACKENDS === 'string' ? BACKENDS : JSON.stringify(BACKENDS), ...env })).backends;
const problems = async (BACKENDS: unknown, env: NodeJS.ProcessEnv = {}): Promise<string> => {
  try {
    await read(BACKENDS, env);
    return '';
  } catch (error) {
    return (error as Error).message;
  }
};
const plain = { name: 'a', url: 'http://a', kind: 'plain' };

describe('BACKENDS', () => {
  it('takes YAML and JSON alike', async () => {
    const yaml = `
- name: gpu
  url: http://ollama:11434/x/
  kind: ollama
  models: [llama3, "qwen*"]
  timeouts: {idle_ms: 5}
`;
    const [backend] = await read(yaml, { MAX_CONCURRENCY: '4', BACKEND_FIRST_BYTE_TIMEOUT_MS: '7' });
    expect(backend).toMatchObject({
      name: 'gpu',
      kind: 'ollama',
      origin: 'http://ollama:11434',
      basePath: '/x',
      order: 1,
      weight: 1,
      maxConcurrency: 4,
      cancelOnDisconnect: true,
      healthPath: '/api/version',
      timeouts: { connectMs: 10_000, firstByteMs: 7, idleMs: 5, totalMs: 0 },
    });
    expect(backend?.models?.texts).toEqual(['llama3', 'qwen*']);
    const json = [{ name: 'gpu', url: 'http://ollama:11434/x/', kind: 'ollama', models: ['llama3', 'qwen*'] }];
    expect((await read(json))[0]?.origin).toBe('http://ollama:11434');
  });

  it('fills in what the other settings say for all', async () => {
    const env = { ALLOW_PARALLEL: 'false', CANCEL_ON_DISCONNECT: 'false', HEALTHCHECK_ENDPOINT: '/up' };
    const list = [plain, { ...plain, name: 'b', max_concurrency: 9, cancel_on_disconnect: true, healthcheck: false }];
    expect(await read(list, env)).toMatchObject([
      { maxConcurrency: 1, cancelOnDisconnect: false, healthPath: '/up' },
      { maxConcurrency: 9, cancelOnDisconnect: true, healthPath: undefined },
    ]);
  });

  it.each<[string, unknown, RegExp]>([
    ['text', 'just words', /BACKENDS: /],
    ['broken YAML', '- {name: [', /BACKENDS: is neither JSON nor YAML/],
    ['an empty list', [], /BACKENDS: /],
    ['a kind that there is not', [{ ...plain, kind: 'gemini' }], /BACKENDS\[0\]\.kind: /],
    ['a URL with a password', [{ ...plain, url: 'http://u:hush@a' }], /BACKENDS\[0\]\.url: must not carry credentials/],
    ['a misspelt field', [{ ...plain, modles: ['x'] }], /BACKENDS\[0\]: .*modles/],
    ['one name twice', [plain, plain], /BACKENDS: names a twice/],
    ['a path without a slash', [{ ...plain, paths: ['files'] }], /BACKENDS\[0\]\.paths\[0\]/],
    [
      'a credential that is the key itself',
      [{ ...plain, credential: 'sk-Hush_1' }],
      /BACKENDS\[0\]\.credential: is the name of a secret/,
    ],
    ['a secret that is not there', [{ ...plain, credential: 'no-such-key' }], /create the secret no-such-key of a/],
  ])('refuses %s, naming the place and no value', async (_name, list, message) => {
    const said = await problems(list);
    expect(said).toMatch(message);
    expect(said.toLowerCase()).not.toContain('hush');
  });

  it('stands alone', async () => {
    expect(await problems([plain], { BACKEND_URL: 'http://x', OLLAMA_URL: 'http://y' })).toMatch(
      /BACKEND_URL: has no meaning beside BACKENDS\n.*OLLAMA_URL: has no meaning/,
    );
  });

  it('reads each credential anew', async () => {
    const [backend] = await read([{ ...plain, credential: 'a-key' }], { A_KEY: 'sk' });
    expect(backend?.credential?.read()).toBe('sk');
  });
});

describe('settings', () => {
  it.each([
    [{ MODEL_ALIASES: '["a"]' }, /MODEL_ALIASES: must be a JSON object/],
    [{ SSE_PING_S: '-1' }, /SSE_PING_S: must be a number of seconds/],
    [{ OWN_ROUTES: 'none' }, /OWN_ROUTES/],
    [{ HEALTHCHECK_ENDPOINT: 'health' }, /HEALTHCHECK_ENDPOINT: must be a path/],
    [{ BACKEND_KIND: 'x' }, /BACKEND_KIND/],
  ])('that are wrong are named: %j', async (env, message) => {
    await expect(readConfig(env)).rejects.toThrow(message);
  });
});

describe('patterns', () => {
  it('are names, or globs over any characters', () => {
    const { matches } = createPatterns(['gpt-4o', 'llama*', 'a.b', '*/x/*', 'q**z']);
    const yes = ['gpt-4o', 'llama', 'llama3:8b', 'a.b', 'hf.co/x/y\nz', 'qz', 'q--z'];
    const no = ['gpt-4o-mini', 'my-llama', 'aXb', 'GPT-4o', '', 'q'];
    expect(yes.map(matches)).toEqual(yes.map(() => true));
    expect(no.map(matches)).toEqual(no.map(() => false));
  });
});

describe('the plan of a call', () => {
  const upstreams = async (list: object[]) =>
    (await read(list)).map((backend) =>
      createUpstream(backend, {
        breaker: { failures: 1, windowMs: 1_000, openMs: 30_000 },
        gate: { maxQueue: 1, maxWaitMs: 1 },
        clock: () => 0,
      }),
    );
  const names = (plan: readonly { backend: { name: string } }[]) => plan.map(({ backend }) => backend.name).join('');

  it('has lower orders first, then the less busy for their weight', async () => {
    const [a, b, c, d] = await upstreams([
      { ...plain, name: 'a', order: 2 },
      { ...plain, name: 'b' },
      { ...plain, name: 'c', weight: 3 },
      { ...plain, name: 'd' },
    ]);
    b!.gate.tryEnter();
    c!.gate.tryEnter();
    const plan = () => names(planCall([a!, b!, c!, d!], { path: '/', model: undefined }, () => 0.5));
    expect(plan()).toBe('cdba');
    d!.healthy = false;
    c!.breaker.failed(false);
    expect(plan()).toBe('ba');
  });

  it('says when to come back where nobody can be asked', async () => {
    const [a] = await upstreams([plain]);
    a!.breaker.failed(false);
    expect(() => planCall([a!], { path: '/', model: undefined })).toThrow(
      expect.objectContaining({ status: 503, code: 'backends_down', headers: { 'Retry-After': '30' } }),
    );
  });

  it('holds paths that are set, and takes those of a kind as a preference', async () => {
    const list = await upstreams([
      { ...plain, name: 'o', kind: 'openai' },
      { ...plain, name: 'c', kind: 'anthropic' },
      { ...plain, name: 'f', paths: ['/files/*'] },
    ]);
    const on = (path: string) => names(planCall(list, { path, model: undefined }, () => 0.5));
    expect(['/v1/chat/completions', '/v1/messages', '/files/a', '/other'].map(on)).toEqual(['o', 'c', 'f', 'oc']);
    expect(() => planCall(list.slice(2), { path: '/x', model: undefined })).toThrow(
      expect.objectContaining({ code: 'no_route' }),
    );
  });
});

describe('PRICES_FILE', () => {
  const refusal = (path: string) => problems([plain], { PRICES_FILE: path });
  const folder = tmpdir();

  it('that cannot be read is refused at start, naming the setting and not what is in it', async () => {
    expect(await refusal(join(folder, 'nowhere.json'))).toContain('  - PRICES_FILE: cannot be read');
    expect(await refusal(folder)).toContain('  - PRICES_FILE: cannot be read');
  });

  it('that is no JSON, or has no prices, is refused as well', async () => {
    const file = join(folder, 'prices.json');
    writeFileSync(file, '{"m": ');
    expect(await refusal(file)).toContain('  - PRICES_FILE: is not JSON');
    writeFileSync(file, '{"m": {"input_cost_per_token": "cheap"}}');
    expect(await refusal(file)).toMatch(/PRICES_FILE: input_cost_per_token of m must be USD per token/);
    writeFileSync(file, '{"m": {"input_cost_per_token": 0.5}}');
    expect(await refusal(file)).toBe('');
  });
});
