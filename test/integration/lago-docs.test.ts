import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { dropReasons } from '../../functions/lago-usage-push/preflight/judge.ts';
import { parsePlanFile } from '../../functions/lago-usage-push/provision/plan-file.ts';
import { parseSyncRule } from '../../functions/lago-usage-push/sync/rule.ts';
import { type LagoSandbox, startLagoSandbox } from '../../sandbox/lago.ts';
import { runProvision } from '../../tools/lago/provision.ts';

const root = join(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/lago.md'), 'utf8');

/** The YAML blocks of the page by the name in their first line. */
const files = new Map(
  [...page.matchAll(/^```yaml\n# (\S+)\n([\s\S]*?)^```$/gm)].map(([, name = '', text = '']) => [name, text]),
);

const read = (name: string): unknown => parse(files.get(name) ?? '', { strict: true });

/** What stands under a path such as `global.urls.api`. */
const at = (value: unknown, path: string): unknown =>
  path.split('.').reduce<unknown>((found, key) => (found as Record<string, unknown> | undefined)?.[key], value);

let sandbox: LagoSandbox | undefined;
afterEach(async () => {
  await sandbox?.close();
  sandbox = undefined;
});

test('every YAML block has a name, and parses', () => {
  expect(files.size).toBe([...page.matchAll(/^```yaml$/gm)].length);
  expect(files.size).toBeGreaterThanOrEqual(9);
  for (const name of files.keys()) expect(read(name), name).toBeTypeOf('object');
});

describe('the values', () => {
  const old = ['apiUrl', 'frontUrl', 'global.databaseUrl', 'global.redisUrl'];
  const urls: [string, string[]][] = [
    ['values-1.12.2.yaml', old],
    ['values-1.27.1.yaml', old],
    ['values-0.5.7.yaml', ['global.urls.api', 'global.urls.front', 'global.database.uri', 'global.redis.uri']],
  ];

  test.each(urls)('of %s have whole URLs, and a PostgreSQL and a Redis that are there already', (name, paths) => {
    const [api, front, database, redis] = paths.map((path) => at(read(name), path));
    for (const url of [api, front]) expect(URL.parse(url as string)?.protocol).toBe('https:');
    expect(URL.parse(database as string)).toMatchObject({ protocol: 'postgresql:', pathname: '/lago' });
    expect(URL.parse(redis as string)?.protocol).toBe('redis:');
  });

  test('of 1.12.2 bring no database of their own, no minio, and a kubectl tag that is one', () => {
    const values = read('values-1.12.2.yaml');
    expect(values).toMatchObject({
      version: '1.12.2',
      redis: { enabled: false },
      postgresql: { enabled: false },
      minio: { enabled: false },
      global: { s3: { enabled: false }, signup: { enabled: true } },
    });
    // As a string: YAML reads 1.30 as the number 1.3.
    expect(at(values, 'global.kubectlVersion')).toMatch(/^\d+\.\d+$/);
  });

  test.each([
    ['values-1.27.1.yaml', 'job.migrate.extraEnv'],
    ['values-0.5.7.yaml', 'migrate.extraEnv'],
  ])('of %s choose the API key at creation', (name, path) => {
    expect(at(read(name), path)).toEqual({
      LAGO_CREATE_ORG: 'true',
      LAGO_ORG_NAME: expect.any(String),
      LAGO_ORG_USER_EMAIL: expect.any(String),
      LAGO_ORG_USER_PASSWORD: 'REPLACE-ME',
      LAGO_ORG_API_KEY: 'REPLACE-ME',
    });
  });

  test('of 1.27.1 take a Lago whose batches are atomic and whose key variable works', () => {
    const [, minor = 0] = String(at(read('values-1.27.1.yaml'), 'version'))
      .split('.')
      .map(Number);
    expect(minor).toBeGreaterThanOrEqual(39);
  });

  test('of 0.5.7 run the workers without which usage stands still, and hold no real key', () => {
    const values = read('values-0.5.7.yaml');
    expect(at(values, 'global.sidekiq.queues')).toMatchObject({ events: true, billing: true, clock: true });
    const keys = ['encryption.key', 'encryption.salt', 'signing.rsa', 'signing.hmac'];
    expect(keys.map((key) => at(values, `global.${key}`))).toEqual(Array(4).fill('REPLACE-ME'));
  });
});

test.each(['apiUrl', 'minio', 'persistentvolumeclaim', 'kubectl', 'liveness', 'not empty', 'API key'])(
  'the traps have a row for %s',
  (word) => {
    const table = /### Traps\n\n([\s\S]*?)\n\n/.exec(page)?.[1] ?? '';
    expect(
      table
        .split('\n')
        .slice(2)
        .some((row) => row.includes(word)),
    ).toBe(true);
  },
);

describe.each([
  ['plan.yml', ['1.12', '1.33', '1.39', 'clickhouse']],
  ['plan-tokens.yml', ['1.12', '1.33', '1.39', 'clickhouse']],
  ['plan-dynamic.yml', ['1.33', '1.39', 'clickhouse']],
])('%s', (name, profiles) => {
  test.each(profiles)('sets up Lago %s, and then there is nothing to do', async (profile) => {
    sandbox = await startLagoSandbox({ profile });
    const lines: string[] = [];
    const call = {
      baseUrl: sandbox.url,
      apiKey: 'lago-sandbox',
      plan: files.get(name) ?? '',
      dryRun: false,
      confirm: async () => true,
      print: (line: string) => lines.push(line),
    };
    expect((await runProvision(call)).applied).toBeGreaterThan(0);
    await runProvision(call);
    expect(lines.at(-1)).toBe('Nothing to do.');
  });
});

test('the rule is one, for plans that the page makes', async () => {
  const rule = await parseSyncRule(files.get('rule.yml') ?? '');
  const names = ['plan.yml', 'plan-tokens.yml', 'plan-dynamic.yml'];
  const made = await Promise.all(names.map((name) => parsePlanFile(files.get(name) ?? '')));
  const plans = made.flatMap((file) => file.plans.map(({ code }) => code));
  expect(plans).toContain(rule.plan_code);
  for (const item of rule.rules) if ('plan_code' in item) expect(plans).toContain(item.plan_code);
});

test("LiteLLM's configuration calls us and not its own Lago callback", () => {
  const config = read('litellm-webhook.yaml');
  const callbacks = at(config, 'callback_settings');
  expect(at(config, 'litellm_settings.callbacks')).toEqual(Object.keys(callbacks as object));
  expect(JSON.stringify(at(config, 'litellm_settings'))).not.toMatch(/"lago"/);
  expect(at(callbacks, 'lago_usage_push')).toMatchObject({
    callback_type: 'generic_api',
    endpoint: expect.stringMatching(/\/function\/lago-usage-push\/webhook$/),
  });
});

test('the schedule is the one of the stack file', () => {
  const shown = at(read('stack-schedule.yml'), 'functions.lago-usage-push');
  const sample: unknown = parse(readFileSync(join(root, 'stack.sample.yml'), 'utf8'), { merge: true });
  const stack = at(sample, 'functions.lago-usage-push');
  expect(at(shown, 'annotations.topic')).toBe('cron-function');
  expect(at(shown, 'annotations.schedule')).toBe(at(stack, 'annotations.schedule'));
  const known = Object.keys(at(stack, 'environment') as object);
  for (const name of Object.keys(at(shown, 'environment') as object)) expect(known).toContain(name);
});

test('the page tells what to do about each reason for which usage is held', () => {
  for (const reason of dropReasons) expect(page).toContain(`\`${reason}\``);
});

test('the warning stands before everything else', () => {
  const warning = page.indexOf("**Do not run LiteLLM's own `lago` callback");
  expect(warning).toBeGreaterThan(0);
  expect(warning).toBeLessThan(page.indexOf('## 1.'));
});
