import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as z from 'zod/mini';
import { authSettings, logSettings } from '#shared/config/common.ts';
import { readSecret } from '#shared/config/secrets.ts';
import { flag, httpUrl, integer, loadSettings, optionalSecret, requiredSecret } from '#shared/config/settings.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'secrets-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('loadSettings', () => {
  const schema = z.object({
    API_URL: httpUrl(),
    LIMIT: integer({ fallback: 5, min: 1, max: 10 }),
    DRY: flag(false),
    'the-key': requiredSecret(),
    'other-key': optionalSecret(),
  });

  it('reads variables and secrets, with defaults for what is unset or empty', () => {
    const loaded = loadSettings(schema, { API_URL: ' https://x.example/base/ ', LIMIT: '', THE_KEY: 'k' });
    expect(loaded).toMatchObject({ API_URL: 'https://x.example/base', LIMIT: 5, DRY: false });
    expect(loaded['the-key'].read()).toBe('k');
    expect(loaded['other-key'].read()).toBeUndefined();
  });

  it('names every bad setting and shows no value', () => {
    const start = () => loadSettings(schema, { LIMIT: '11x', DRY: 'perhaps', SECRET_MOUNT_PATH: folder });
    expect(start).toThrow(/API_URL is required/);
    expect(start).toThrow(/LIMIT: must be a whole number from 1 to 10/);
    expect(start).toThrow(/DRY: must be true or false/);
    expect(start).toThrow(/the-key: create this secret, or set THE_KEY/);
    expect(start).not.toThrow(/11x|perhaps/);
  });

  it.each(['javascript:alert(1)', 'ftp://x', 'x.example', 'https://user:pass@x.example'])(
    'refuses %s as a URL',
    (url) => {
      expect(() => loadSettings(z.object({ API_URL: httpUrl() }), { API_URL: url })).toThrow(/API_URL: must/);
    },
  );

  it('reads "false" as false', () => {
    expect(loadSettings(z.object({ DRY: flag(true) }), { DRY: 'false' })).toEqual({ DRY: false });
  });
});

describe('the common settings', () => {
  it('default to keys and no ticks', () => {
    expect(loadSettings(z.object(authSettings), {})).toMatchObject({ AUTH: ['api-key'], ALLOW_SCHEDULED_TICK: false });
  });

  it('refuse a method that does not exist', () => {
    expect(() => loadSettings(z.object(authSettings), { AUTH: 'api-key, nobody' })).toThrow(/AUTH: takes a comma list/);
  });

  it.each([
    ['WARNING', 'warn'],
    ['critical', 'error'],
    ['Debug', 'debug'],
  ])('read LOG_LEVEL %s as %s', (text, level) => {
    expect(loadSettings(z.object(logSettings), { LOG_LEVEL: text })).toEqual({ LOG_LEVEL: level });
  });
});

describe('readSecret', () => {
  it('prefers the file, without the newline that --from-file keeps', () => {
    writeFileSync(join(folder, 'my-key'), 'from file\n');
    expect(readSecret('my-key', { SECRET_MOUNT_PATH: folder, MY_KEY: 'from env' }).read()).toBe('from file');
    expect(readSecret('no-file', { SECRET_MOUNT_PATH: folder, NO_FILE: 'from env' }).read()).toBe('from env');
  });

  it('sees a rotated, a removed and a late file without a restart', () => {
    let now = 0;
    const secret = readSecret('my-key', { SECRET_MOUNT_PATH: folder }, () => now);
    expect(secret.read()).toBeUndefined();
    writeFileSync(join(folder, 'my-key'), 'one');
    expect(secret.read()).toBeUndefined();
    now = 1000;
    expect(secret.read()).toBe('one');
    writeFileSync(join(folder, 'my-key'), 'second');
    now = 2000;
    expect(secret.read()).toBe('second');
    rmSync(join(folder, 'my-key'));
    now = 3000;
    expect(secret.read()).toBeUndefined();
  });
});
