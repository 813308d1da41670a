import { describe, expect, it } from 'vitest';
import { type AuthSettings, createAuthenticate } from '#shared/auth/authenticate.ts';
import { signBody } from '#shared/auth/keys.ts';
import { ConfigError } from '#shared/errors.ts';

const secret = (name: string, value?: string) => ({ name, read: () => value });

function settings(overrides: Partial<AuthSettings> = {}): AuthSettings {
  return {
    AUTH: ['api-key'],
    ALLOW_SCHEDULED_TICK: false,
    'function-api-key': secret('function-api-key', 'n8n:k1:with:colons\nbob:k2\n\nbare'),
    'webhook-secret': secret('webhook-secret', 'w'),
    ...overrides,
  };
}

const call = (headers: Record<string, string>, options: { method?: string; path?: string; body?: string } = {}) => ({
  method: options.method ?? 'GET',
  path: options.path ?? '/',
  headers,
  rawBody: async () => Buffer.from(options.body ?? ''),
});

const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
const tick = { 'x-connector': 'cron-connector', 'content-length': '0' };

describe('api-key', () => {
  const authenticate = createAuthenticate(settings(), 'test');

  it.each([
    ['a bearer token', { authorization: 'Bearer k2' }, 'bob'],
    ['a bearer token in any case', { authorization: 'bearer k2' }, 'bob'],
    ['X-Api-Key', { 'x-api-key': 'k1:with:colons' }, 'n8n'],
    ['the password of HTTP Basic', { authorization: basic('anyone', 'k2') }, 'bob'],
    ['a key without a name', { 'x-api-key': 'bare' }, 'default'],
  ])('admits %s and names its caller', async (_, headers, name) => {
    expect(await authenticate(call(headers))).toMatchObject({ name, method: 'api-key' });
  });

  it.each([
    ['no credential', {}],
    ['a wrong key', { authorization: 'Bearer nope' }],
    ['a key with its name', { authorization: 'Bearer bob:k2' }],
    ['an empty key', { authorization: 'Bearer ' }],
    ['an empty Basic password', { authorization: basic('bob', '') }],
    ['a signature where hmac is off', { 'x-hub-signature-256': signBody('', 'w') }],
    ['a tick where ticks are off', tick],
  ])('refuses %s with a challenge', async (_, headers) => {
    await expect(authenticate(call(headers, { method: 'POST' }))).rejects.toMatchObject({
      status: 401,
      code: 'unauthorized',
      headers: { 'WWW-Authenticate': 'Basic realm="test", charset="UTF-8"' },
    });
  });

  it('forgets who was admitted as soon as the secret is another one', async () => {
    let lines = 'bob:k2';
    const rotated = createAuthenticate(
      settings({ 'function-api-key': { name: 'function-api-key', read: () => lines } }),
      'test',
    );
    const headers = { authorization: 'Bearer k2' };
    for (let times = 0; times < 2; times += 1) expect(await rotated(call(headers))).toMatchObject({ name: 'bob' });
    lines = 'bob:k3\nann:k4';
    await expect(rotated(call(headers))).rejects.toMatchObject({ status: 401 });
    expect(await rotated(call({ authorization: 'Bearer k4' }))).toMatchObject({ name: 'ann' });
    lines = 'eve:k2';
    expect(await rotated(call(headers))).toMatchObject({ name: 'eve' });
  });

  it('does not take in one header what it admitted in the other', async () => {
    const own = createAuthenticate(settings(), 'test');
    await own(call({ authorization: 'Bearer k2' }));
    await expect(own(call({ 'x-api-key': 'Bearer k2' }))).rejects.toMatchObject({ status: 401 });
    await own(call({ 'x-api-key': 'k2' }));
    await expect(own(call({ authorization: 'k2' }))).rejects.toMatchObject({ status: 401 });
  });

  it('looks into X-Api-Key where Authorization holds no key of ours, and says so', async () => {
    for (const methods of [['api-key'], ['api-key', 'none']] as const) {
      const own = createAuthenticate(settings({ AUTH: [...methods] }), 'test');
      const theirs = { authorization: 'Bearer theirs' };
      const both = { ...theirs, 'x-api-key': 'k2' };
      for (let times = 0; times < 2; times += 1) {
        expect(await own(call(both))).toEqual({ name: 'bob', method: 'api-key', inApiKeyHeader: true });
      }
      const alone = Promise.resolve(own(call(theirs))).catch((error: unknown) => error);
      expect(await alone).toMatchObject(methods.length === 1 ? { status: 401 } : { method: 'none' });
      const ours = { authorization: 'Bearer k2', 'x-api-key': 'sk-ant' };
      expect(await own(call(ours))).toEqual({ name: 'bob', method: 'api-key' });
    }
  });

  it('knows many callers more than it remembers', async () => {
    const lines = Array.from({ length: 1_100 }, (_, index) => `c${index}:key-${index}`).join('\n');
    const many = createAuthenticate(settings({ 'function-api-key': secret('function-api-key', lines) }), 'test');
    for (let index = 0; index < 1_100; index += 1) {
      expect(await many(call({ 'x-api-key': `key-${index}` }))).toMatchObject({ name: `c${index}` });
    }
    expect(await many(call({ 'x-api-key': 'key-0' }))).toMatchObject({ name: 'c0' });
  });

  it('refuses an unsafe call that a page of another site sent with a remembered password', async () => {
    const headers = { authorization: basic('', 'k2'), 'sec-fetch-site': 'cross-site' };
    await expect(authenticate(call(headers, { method: 'POST' }))).rejects.toMatchObject({ code: 'cross_site' });
    expect(await authenticate(call(headers))).toMatchObject({ name: 'bob' });
  });

  it('compares the origin where the browser sends no Sec-Fetch-Site', async () => {
    const from = (origin: string) => call({ authorization: basic('', 'k2'), origin, host: 'us' }, { method: 'POST' });
    await expect(authenticate(from('https://them'))).rejects.toMatchObject({ status: 403 });
    expect(await authenticate(from('https://us'))).toMatchObject({ name: 'bob' });
  });
});

describe('hmac', () => {
  const authenticate = createAuthenticate(settings({ AUTH: ['hmac'] }), 'test');

  it('admits a signature over the raw bytes', async () => {
    const body = '{"a": 1 }';
    const headers = { 'x-hub-signature-256': signBody(body, 'w') };
    expect(await authenticate(call(headers, { body }))).toEqual({ name: 'webhook', method: 'hmac' });
  });

  it('refuses a signature over other bytes, by another secret, or without its prefix', async () => {
    const signatures = [signBody('b', 'w'), signBody('a', 'other'), signBody('a', 'w').slice(7)];
    for (const signature of signatures) {
      const refused = authenticate(call({ 'x-hub-signature-256': signature }, { body: 'a' }));
      await expect(refused).rejects.toMatchObject({ code: 'bad_signature' });
    }
  });

  it('refuses a key', async () => {
    await expect(authenticate(call({ 'x-api-key': 'k2' }))).rejects.toMatchObject({ status: 401 });
  });
});

describe('a scheduled tick', () => {
  const authenticate = createAuthenticate(settings({ ALLOW_SCHEDULED_TICK: true }), 'test');

  it('is admitted as cron-connector sends it', async () => {
    expect(await authenticate(call(tick, { method: 'POST' }))).toMatchObject({ method: 'scheduled-tick' });
  });

  it('is an ordinary call with a credential', async () => {
    const headers = { ...tick, 'x-api-key': 'k2' };
    expect(await authenticate(call(headers, { method: 'POST' }))).toMatchObject({ name: 'bob', method: 'api-key' });
  });

  it.each([
    ['a body', { ...tick, 'content-length': '2' }, { method: 'POST' }],
    ['a chunked body', { ...tick, 'transfer-encoding': 'chunked' }, { method: 'POST' }],
    ['another path', tick, { method: 'POST', path: '/usage' }],
    ['another method', tick, { method: 'GET' }],
    ['a wrong key', { ...tick, 'x-api-key': 'nope' }, { method: 'POST' }],
    ['no connector', { 'content-length': '0' }, { method: 'POST' }],
  ])('is refused with %s', async (_, headers, options) => {
    await expect(authenticate(call(headers, options))).rejects.toMatchObject({ status: 401 });
  });
});

describe('createAuthenticate', () => {
  it('refuses to start without the secret of a method, naming both', () => {
    const bare = { 'function-api-key': secret('function-api-key'), 'webhook-secret': secret('webhook-secret') };
    const start = () => createAuthenticate(settings({ ...bare, AUTH: ['api-key', 'hmac'] }), 'test');
    expect(start).toThrow(ConfigError);
    expect(start).toThrow(/api-key.*FUNCTION_API_KEY\n.*hmac.*WEBHOOK_SECRET/);
  });

  it('opens with none, and still names a caller with a good key', async () => {
    const authenticate = createAuthenticate(settings({ AUTH: ['api-key', 'none'] }), 'test');
    expect(await authenticate(call({}))).toEqual({ name: 'anonymous', method: 'none' });
    expect(await authenticate(call({ 'x-api-key': 'k2' }))).toMatchObject({ name: 'bob' });
  });

  it('follows a rotated secret', async () => {
    let value = 'a:old';
    const keys = { name: 'function-api-key', read: () => value };
    const authenticate = createAuthenticate(settings({ 'function-api-key': keys }), 'test');
    value = 'a:new';
    await expect(authenticate(call({ 'x-api-key': 'old' }))).rejects.toMatchObject({ status: 401 });
    expect(await authenticate(call({ 'x-api-key': 'new' }))).toMatchObject({ name: 'a' });
  });
});
