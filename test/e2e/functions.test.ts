import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundle } from '../../template/node24-ts/build.mjs';
import { runBundle } from '../support/bundle-process.ts';

const root = join(import.meta.dirname, '../..');
const nobody = 'http://127.0.0.1:9';
const key = 'the-only-key-of-this-test';

/** What each function needs to start, beside a key for its callers. */
const required: Record<string, Record<string, string>> = {
  'llm-global-spend': { LITELLM_API_BASE_URL: nobody, LITELLM_API_KEY: 'sk-planted' },
  'spot-start-service': {
    PORTAINER_API_URL: nobody,
    PORTAINER_USERNAME: 'admin',
    PORTAINER_PASSWORD: 'planted-password',
  },
  'completion-proxy': {},
  'lago-usage-push': {
    LITELLM_API_BASE_URL: nobody,
    LITELLM_API_KEY: 'sk-planted',
    LAGO_API_BASE: nobody,
    LAGO_API_KEY: 'lago-planted',
    LAGO_API_EVENT_CODE: 'llm',
  },
};

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'functions-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe.each(Object.entries(required))('the bundle of %s, as a deployment starts it', (name, settings) => {
  const outfile = () => join(folder, name, 'index.cjs');
  beforeAll(() => bundle({ entry: join(root, 'functions', name, 'index.ts'), outfile: outfile() }));

  it('refuses to start without a key for its callers, and says no secret', async () => {
    const started = await runBundle(outfile(), settings);
    expect(await started.exited).toBe(1);
    const log = started.lines.join('\n');
    expect(log).toContain('FUNCTION_API_KEY');
    expect(log).not.toMatch(/planted/);
  });

  it('refuses to start on a bad setting, which it names', async () => {
    const started = await runBundle(outfile(), { ...settings, FUNCTION_API_KEY: `me:${key}`, LOG_LEVEL: 'loud' });
    expect(await started.exited).toBe(1);
    expect(started.lines.join('\n')).toMatch(/LOG_LEVEL: must be debug, info, warn or error/);
  });

  it('answers 401 without the key, and something else with it; neither its log nor its answers show a secret', async () => {
    const started = await runBundle(outfile(), { ...settings, FUNCTION_API_KEY: `me:${key}` });
    const url = `http://127.0.0.1:${started.port}/`;
    const refused = await fetch(url);
    const admitted = await fetch(url, { headers: { Authorization: `Bearer ${key}` } });
    // cron-connector's tick carries no credential: it is admitted only where a setting says so.
    const tick = await fetch(url, { method: 'POST', headers: { 'X-Connector': 'cron-connector' } });
    const bodies = [await refused.text(), await admitted.text(), await tick.text()].join('\n');
    started.child.kill('SIGTERM');
    expect([refused.status, tick.status]).toEqual([401, 401]);
    expect(admitted.status).not.toBe(401);
    expect(await started.exited).toBe(0);
    expect(`${bodies}\n${started.lines.join('\n')}`).not.toMatch(new RegExp(`${key}|planted`));
  });
});
