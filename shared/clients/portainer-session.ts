import { UpstreamError } from '../errors.ts';
import type { HttpAnswer, HttpClient, HttpRequest } from './http.ts';

export interface PortainerCredentials {
  apiKey?: string | undefined;
  username?: string | undefined;
  password?: string | undefined;
}

// Portainer bans an address for an hour after more than 10 logins in a second; users of its pages who come through the
// same address are locked out with us, so we stay far below.
const maxLoginsPerMinute = 5;
const banPauseMs = 300_000;
const refusalPauseMs = 10_000;
const renewBeforeMs = 60_000;

function expiryMs(jwt: string): number {
  try {
    const claims = JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString('utf8')) as { exp?: unknown };
    return typeof claims.exp === 'number' ? claims.exp * 1000 : Number.POSITIVE_INFINITY;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/**
 * Calls with a credential: the API key when there is one, else a JWT from one login, shared by all calls and renewed
 * before it ends. A 401 means that Portainer restarted: one new login and the call again. Never both headers, since
 * Portainer answers 403 to that; never a login in a loop.
 */
export function createPortainerSession(options: {
  http: HttpClient;
  credentials: () => PortainerCredentials;
  now: () => number;
}) {
  const { http, credentials, now } = options;
  let session: { jwt: string; endsAtMs: number } | undefined;
  let pending: Promise<string> | undefined;
  let logins: number[] = [];
  let pause: { untilMs: number; credentials: string; error: UpstreamError } | undefined;

  async function login(): Promise<string> {
    const { username = '', password = '' } = credentials();
    const used = JSON.stringify([username, password]);
    if (pause !== undefined && now() < pause.untilMs && pause.credentials === used) throw pause.error;
    logins = logins.filter((at) => at > now() - 60_000);
    if (logins.length >= maxLoginsPerMinute) {
      throw new UpstreamError('Portainer', 'status', 'logins do not last: not trying again within this minute', {
        status: 401,
        advice: 'it refuses the sessions that it gives',
      });
    }
    logins.push(now());
    try {
      // No caller's signal: others wait for this login too.
      const { body } = await http.requestJson({
        method: 'POST',
        path: '/api/auth',
        json: { Username: username, Password: password },
      });
      const { jwt } = body as { jwt?: unknown };
      if (typeof jwt !== 'string') throw new UpstreamError('Portainer', 'invalid_response', 'a login without a JWT');
      session = { jwt, endsAtMs: expiryMs(jwt) };
      return jwt;
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      const { status, failure, detail } = error;
      const banned = status === 403;
      const advice =
        failure === 'invalid_response'
          ? 'what answered is not its API, check PORTAINER_API_URL'
          : banned
            ? 'it refuses logins from this address for a while, a portainer-api-key needs none'
            : status === 400 || status === 422
              ? 'check portainer-username and portainer-password'
              : error.advice;
      const told = new UpstreamError('Portainer', failure, `login: ${detail}`, { status, advice });
      if (banned || status === 400 || status === 422) {
        pause = { untilMs: now() + (banned ? banPauseMs : refusalPauseMs), credentials: used, error: told };
      }
      throw told;
    }
  }

  async function currentJwt(): Promise<string> {
    if (session !== undefined && session.endsAtMs - renewBeforeMs > now()) return session.jwt;
    pending ??= login().finally(() => {
      pending = undefined;
    });
    return pending;
  }

  return {
    async call(request: HttpRequest): Promise<HttpAnswer> {
      const { apiKey } = credentials();
      if (apiKey !== undefined) return http.request({ ...request, headers: { 'X-API-KEY': apiKey } });
      const jwt = await currentJwt();
      try {
        return await http.request({ ...request, headers: { Authorization: `Bearer ${jwt}` } });
      } catch (error) {
        if (!(error instanceof UpstreamError) || error.status !== 401) throw error;
        // Only the session that was refused is dropped: another call may have renewed it meanwhile.
        if (session?.jwt === jwt) session = undefined;
      }
      // A 401 is refused before anything is done, so even a start may be sent again.
      return http.request({ ...request, headers: { Authorization: `Bearer ${await currentJwt()}` } });
    },
  };
}
