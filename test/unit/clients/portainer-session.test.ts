import { expect, test } from 'vitest';
import type { HttpRequest } from '../../../shared/clients/http.ts';
import { createPortainerSession, type PortainerCredentials } from '../../../shared/clients/portainer-session.ts';
import { UpstreamError } from '../../../shared/errors.ts';

const jwtUntil = (seconds: number, name: number) =>
  `head.${Buffer.from(JSON.stringify({ exp: seconds, name })).toString('base64url')}.signature`;

/** Portainer with sessions of an hour; the clock moves by hand. */
function arrange(options: { credentials?: PortainerCredentials; loginStatus?: number; refuse?: () => boolean } = {}) {
  const clock = { ms: 0 };
  const logins: number[] = [];
  const sent: Record<string, string>[] = [];
  const credentials = options.credentials ?? { username: 'admin', password: 'word' };
  const http = {
    async request({ headers = {} }: HttpRequest) {
      sent.push(headers);
      if (options.refuse?.()) throw new UpstreamError('Portainer', 'status', 'Invalid JWT token', { status: 401 });
      return { status: 200, headers: {}, text: 'ok' };
    },
    async requestJson() {
      logins.push(clock.ms);
      const { loginStatus = 200 } = options;
      if (loginStatus !== 200) throw new UpstreamError('Portainer', 'status', 'refused', { status: loginStatus });
      return { status: 200, headers: {}, body: { jwt: jwtUntil(clock.ms / 1000 + 3600, logins.length) } };
    },
  };
  const session = createPortainerSession({ http, credentials: () => credentials, now: () => clock.ms });
  return { clock, logins, sent, credentials, call: () => session.call({ path: '/api/stacks' }) };
}

test('logs in once for calls at the same time and later ones', async () => {
  const { call, logins } = arrange();
  await Promise.all([call(), call(), call()]);
  await call();
  expect(logins).toHaveLength(1);
});

test('logs in again a minute before the session ends', async () => {
  const { call, logins, clock } = arrange();
  await call();
  clock.ms = 3_539_000;
  await call();
  expect(logins).toHaveLength(1);
  clock.ms = 3_541_000;
  await call();
  expect(logins).toHaveLength(2);
});

test('sends the API key alone, without a login', async () => {
  const { call, logins, sent } = arrange({ credentials: { apiKey: 'ptr_x', username: 'admin', password: 'word' } });
  await call();
  expect({ logins, sent }).toEqual({ logins: [], sent: [{ 'X-API-KEY': 'ptr_x' }] });
});

test('logs in once more after a 401 and repeats the call, then gives up', async () => {
  const { call, logins, sent } = arrange({ refuse: () => true });
  await expect(call()).rejects.toMatchObject({ status: 401 });
  expect(logins).toHaveLength(2);
  expect(new Set(sent.map(({ Authorization }) => Authorization)).size).toBe(2);
});

test('shares the new login between calls that were refused together', async () => {
  let refusals = 3;
  const { call, logins } = arrange({ refuse: () => refusals-- > 0 });
  await Promise.all([call(), call(), call()]);
  expect(logins).toHaveLength(2);
});

test('makes at most five logins in a minute, however often it is asked', async () => {
  const { call, logins, clock } = arrange({ refuse: () => true });
  for (let i = 0; i < 20; i++) await expect(call()).rejects.toBeInstanceOf(UpstreamError);
  expect(logins).toHaveLength(5);
  clock.ms = 61_000;
  await expect(call()).rejects.toBeInstanceOf(UpstreamError);
  expect(logins.length).toBeGreaterThan(5);
});

test('leaves Portainer in peace for five minutes after a ban', async () => {
  const { call, logins, clock } = arrange({ loginStatus: 403 });
  await expect(call()).rejects.toMatchObject({ status: 403, advice: expect.stringContaining('portainer-api-key') });
  clock.ms = 299_000;
  await expect(call()).rejects.toMatchObject({ status: 403 });
  expect(logins).toHaveLength(1);
  clock.ms = 301_000;
  await expect(call()).rejects.toMatchObject({ status: 403 });
  expect(logins).toHaveLength(2);
});

test('tries a rotated password at once after a refusal', async () => {
  const { call, logins, credentials } = arrange({ loginStatus: 422 });
  await expect(call()).rejects.toMatchObject({ status: 422 });
  await expect(call()).rejects.toMatchObject({ status: 422 });
  expect(logins).toHaveLength(1);
  credentials.password = 'new word';
  await expect(call()).rejects.toMatchObject({ status: 422 });
  expect(logins).toHaveLength(2);
});
