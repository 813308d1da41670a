import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { scheduleOf, startSchedule } from '../../../tools/gateway/cron.ts';
import { openAuth, prepareFunction } from '../../../tools/gateway/environment.ts';
import { cleanPath } from '../../../tools/gateway/front.ts';
import { createSandboxes, findUpstreams } from '../../../tools/gateway/upstreams.ts';
import { deadlineMs, readWatchdogSettings, wantsStream } from '../../../tools/gateway/watchdog.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gateway-'));
  mkdirSync(join(folder, 'secrets'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const double = {
  get: async (variable: string) => ({
    url: `http://double/${variable}`,
    credentials:
      variable === 'LITELLM_API_BASE_URL' ? { LITELLM_API_KEY: 'sk-double' } : ({} as Record<string, string>),
    close: async () => undefined,
  }),
};

function prepare(
  environment: Record<string, string>,
  secrets: string[],
  files: Record<string, string> = {},
  shell: Record<string, string> = {},
) {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, 'secrets', name), text);
  const spec = {
    name: 'hello',
    image: 'a/b',
    folder,
    environment,
    secrets,
    labels: {},
    annotations: {},
    limits: {},
    requests: {},
    readOnlyRootFilesystem: true,
  };
  return prepareFunction({
    spec,
    secretsFolder: join(folder, 'secrets'),
    folder: join(folder, 'own'),
    sandboxes: double,
    host: { PATH: '/bin', HOME: '/home', SHELL: '/bin/sh', LITELLM_API_KEY: 'sk-of-the-shell', ...shell },
  });
}

describe('prepareFunction', () => {
  it('gives a double and its credentials where the URL is empty, and nothing of the shell but two variables', async () => {
    const { environment, upstreams } = await prepare({ LITELLM_API_BASE_URL: '', AUTH: 'none' }, []);
    expect(environment).toEqual({
      LITELLM_API_BASE_URL: 'http://double/LITELLM_API_BASE_URL',
      LITELLM_API_KEY: 'sk-double',
      AUTH: 'none',
      PATH: '/bin',
      HOME: '/home',
      TMPDIR: join(folder, 'own', 'tmp'),
      SECRET_MOUNT_PATH: join(folder, 'own', 'secrets'),
    });
    expect(upstreams).toEqual([{ name: 'LiteLLM', variable: 'LITELLM_API_BASE_URL', sandbox: true }]);
  });

  it('uses the real service where the URL is set, with the secrets that the function lists and no other', async () => {
    const files = { 'litellm-api-key': 'sk-real', 'lago-api-key': 'not for this one' };
    const { environment, upstreams } = await prepare(
      { LITELLM_API_BASE_URL: 'http://real:4000', AUTH: 'none' },
      ['litellm-api-key'],
      files,
    );
    expect(environment).not.toHaveProperty('LITELLM_API_KEY');
    expect(environment.LITELLM_API_BASE_URL).toBe('http://real:4000');
    expect(upstreams[0]?.sandbox).toBe(false);
    expect(readdirSync(join(folder, 'own', 'secrets'))).toEqual(['litellm-api-key']);
    expect(readFileSync(join(folder, 'own', 'secrets', 'litellm-api-key'), 'utf8')).toBe('sk-real');
  });

  it('lets a bill begin by itself only against a double, and only where the setting is empty', async () => {
    const days = async (environment: Record<string, string>) => {
      const prepared = await prepare(environment, []);
      return prepared.environment.BILL_FROM;
    };
    expect(await days({ LAGO_API_BASE: '', BILL_FROM: '' })).toMatch(/^\d{4}-\d{2}-\d{2}$/);
    expect(await days({ LAGO_API_BASE: '', BILL_FROM: '2026-01-01' })).toBe('2026-01-01');
    expect(await days({ LAGO_API_BASE: 'http://lago', BILL_FROM: '' })).toBe('');
    expect(await days({ LAGO_API_BASE: '' })).toBeUndefined();
  });

  it('keeps a real credential away from a double', async () => {
    const files = { 'litellm-api-key': 'sk-real' };
    await prepare({ LITELLM_API_BASE_URL: '' }, ['litellm-api-key'], files);
    expect(existsSync(join(folder, 'own', 'secrets', 'litellm-api-key'))).toBe(false);
  });

  it('says which secret of a real service is missing', async () => {
    const { notes } = await prepare({ LAGO_API_BASE: 'http://real' }, ['function-api-key', 'lago-api-key']);
    expect(notes).toEqual(['no secret lago-api-key in .secrets/, nor exported as LAGO_API_KEY']);
  });

  it('takes a listed secret from the shell where .secrets/ has none, for a real service only', async () => {
    const real = await prepare({ LITELLM_API_BASE_URL: 'http://real:4000' }, ['litellm-api-key']);
    expect(real.environment.LITELLM_API_KEY).toBe('sk-of-the-shell');
    const unlisted = await prepare({ LITELLM_API_BASE_URL: 'http://real:4000' }, []);
    expect(unlisted.environment).not.toHaveProperty('LITELLM_API_KEY');
  });

  it('takes an exported key of a listed secret for a backend of its own, where no double is needed', async () => {
    const listed = await prepare({ OLLAMA_URL: '' }, ['openai-api-key'], {}, { OPENAI_API_KEY: 'sk' });
    expect(listed.upstreams).toEqual([{ name: 'Ollama', variable: 'OLLAMA_URL', sandbox: false }]);
    rmSync(join(folder, 'own'), { recursive: true });
    const unlisted = await prepare({ OLLAMA_URL: '' }, [], {}, { OPENAI_API_KEY: 'sk' });
    expect(unlisted.upstreams[0]?.sandbox).toBe(true);
  });

  it('opens a function without a key, and leaves one with a key closed', async () => {
    const open = await prepare({ AUTH: 'api-key' }, ['function-api-key']);
    expect([open.environment.AUTH, open.openedAuth]).toEqual(['none', 'none']);
    rmSync(join(folder, 'own'), { recursive: true });
    const closed = await prepare({ AUTH: 'api-key' }, ['function-api-key'], { 'function-api-key': 'me:key' });
    expect([closed.environment.AUTH, closed.openedAuth]).toEqual(['api-key', undefined]);
  });
});

describe('openAuth', () => {
  it.each([
    [undefined, [], 'none'],
    ['', [], 'none'],
    ['api-key', [], 'none'],
    ['api-key', ['function-api-key'], undefined],
    ['hmac', ['webhook-secret'], undefined],
    ['hmac', [], 'none'],
    ['api-key,hmac', ['webhook-secret'], 'hmac,none'],
    ['api-key, hmac', ['webhook-secret', 'function-api-key'], undefined],
    ['none', [], undefined],
  ])('makes AUTH %j with the secrets %j into %j', (auth, configured: string[], expected) => {
    expect(openAuth(auth, (name) => configured.includes(name))).toBe(expected);
  });
});

describe('findUpstreams', () => {
  const sandboxOf = (environment: Record<string, string>, secrets: string[] = []) =>
    findUpstreams({ environment, secrets }, () => true)[0]?.sandbox;

  it('finds only the services that a function names', () => {
    expect(findUpstreams({ environment: { OTHER: '' }, secrets: [] }, () => true)).toEqual([]);
  });

  it('needs no double of Ollama where another backend is configured', () => {
    expect(sandboxOf({ OLLAMA_URL: '' })).toBe(true);
    expect(sandboxOf({ OLLAMA_URL: 'http://ollama:11434' })).toBe(false);
    expect(sandboxOf({ OLLAMA_URL: '', BACKEND_URL: 'http://vllm:8000' })).toBe(false);
    expect(sandboxOf({ OLLAMA_URL: '', BACKEND_URL: '' })).toBe(true);
    expect(sandboxOf({ OLLAMA_URL: '' }, ['openai-api-key'])).toBe(false);
  });

  it('starts one double for all functions', async () => {
    let started = 0;
    let closed = 0;
    const sandboxes = createSandboxes(async ({ name }) => {
      started += 1;
      const close = async () => {
        closed += 1;
      };
      return { url: name, credentials: {}, close };
    });
    const both = await Promise.all([sandboxes.get('LAGO_API_BASE'), sandboxes.get('LAGO_API_BASE')]);
    expect(both.map(({ url }) => url)).toEqual(['Lago', 'Lago']);
    await sandboxes.close();
    expect([started, closed]).toEqual([1, 1]);
  });
});

describe('schedules', () => {
  it('counts only with the topic of cron-connector', () => {
    expect(scheduleOf({ annotations: { topic: 'cron-function', schedule: '@daily' } })).toBe('@daily');
    expect(scheduleOf({ annotations: { topic: 'other', schedule: '@daily' } })).toBeUndefined();
  });

  it.each(['*/5 * * * *', '@hourly', '@every 1h30m', '0 9 * * MON-FRI'])('takes %s', (schedule) => {
    const job = startSchedule(schedule, () => undefined);
    expect(job).toBeDefined();
    job?.stop();
  });

  it.each(['0 */5 * * * *', 'a; b', '@every soon', '', '61 * * * *'])(
    'ignores %j, as cron-connector does',
    (schedule) => {
      expect(startSchedule(schedule, () => undefined)).toBeUndefined();
    },
  );
});

describe('the watchdog', () => {
  it('has its own defaults', () => {
    expect(readWatchdogSettings({})).toEqual({
      execTimeoutMs: 30_000,
      writeTimeoutMs: 30_000,
      maxInflight: 0,
      logCallId: false,
    });
  });

  it('lets X-Timeout shorten the deadline and never lengthen it; a stream has none', () => {
    const settings = readWatchdogSettings({ exec_timeout: '10s' });
    expect(deadlineMs(settings, undefined, false)).toBe(10_000);
    expect(deadlineMs(settings, '2s', false)).toBe(2_000);
    expect(deadlineMs(settings, '1m', false)).toBe(10_000);
    expect(deadlineMs(settings, '2s', true)).toBe(0);
  });

  it('streams by the Accept of the request', () => {
    expect([undefined, 'application/json', '*/*'].map(wantsStream)).toEqual([false, false, false]);
    expect(['text/event-stream', 'a/b, Application/X-NDJSON'].map(wantsStream)).toEqual([true, true]);
  });
});

describe('cleanPath', () => {
  it.each([
    ['/', '/'],
    ['/function/a', '/function/a'],
    ['/function/a/', '/function/a/'],
    ['/function//a', '/function/a'],
    ['/function/a/../b', '/function/b'],
    ['/function/a/..', '/function/'],
    ['/../..', '/'],
    ['/function/a/%2e%2e/b%20c', '/function/a/%2e%2e/b%20c'],
  ])('makes %s into %s', (path, expected) => {
    expect(cleanPath(path)).toBe(expected);
  });
});
