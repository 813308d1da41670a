import { createHmac } from 'node:crypto';
import { type SandboxCall, sendJson } from '../server.ts';
import type { Counts } from './counts.ts';

export interface AuthOptions {
  username: string;
  password: string;
  apiKey: string;
  now: () => number;
  nextId: () => string;
  /** Life of a JWT; Portainer's default is 8 hours. */
  sessionMs: number;
  counts: Counts;
}

const banMs = 3_600_000;
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

function field(value: unknown, name: string): string {
  if (typeof value !== 'object' || value === null) return '';
  // Portainer decodes with Go, which matches field names in any case.
  const found = Object.entries(value).find(([key]) => key.toLowerCase() === name);
  return typeof found?.[1] === 'string' ? found[1] : '';
}

/** Logins, tokens and the ban that a burst of logins earns. */
export function createPortainerAuth(options: AuthOptions) {
  const { now, nextId } = options;
  let secret = nextId();
  const { logins } = options.counts;
  /** By address: Portainer does not look at X-Forwarded-For. */
  const addresses = new Map<string, { recent: number[]; bannedUntil: number }>();

  const sign = (head: string) => createHmac('sha256', secret).update(head).digest('base64url');

  function issue(): string {
    const iat = Math.floor(now() / 1000);
    const claims = {
      id: 1,
      username: options.username,
      role: 1,
      scope: 'default',
      forceChangePassword: false,
      exp: iat + Math.floor(options.sessionMs / 1000),
      iat,
      jti: nextId().slice(0, 32),
    };
    const head = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
    return `${head}.${sign(head)}`;
  }

  function isValid(jwt: string): boolean {
    const [head, claims, signature] = jwt.split('.');
    if (claims === undefined || signature !== sign(`${head}.${claims}`)) return false;
    const { exp } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { exp: number };
    return exp * 1000 > now();
  }

  return {
    /** POST /api/auth. More than 10 requests in a second ban the address for an hour, right passwords or not. */
    login({ json, req, res }: SandboxCall) {
      const address = req.socket.remoteAddress ?? '';
      const { recent, bannedUntil } = addresses.get(address) ?? { recent: [], bannedUntil: 0 };
      const inSecond = [...recent.filter((at) => at > now() - 1_000), now()];
      const until = inSecond.length > 10 ? now() + banMs : bannedUntil;
      addresses.set(address, { recent: inSecond, bannedUntil: until });
      if (until > now()) {
        logins.banned += 1;
        return sendJson(res, 403, { message: 'Access denied', details: 'Access denied to resource' });
      }
      for (const name of ['username', 'password']) {
        if (field(json, name) !== '') continue;
        logins.refused += 1;
        return sendJson(res, 400, { message: 'Invalid request payload', details: `Invalid ${name}` });
      }
      if (field(json, 'username') !== options.username || field(json, 'password') !== options.password) {
        logins.refused += 1;
        return sendJson(res, 422, { message: 'Invalid credentials', details: 'Unauthorized' });
      }
      logins.given += 1;
      const jwt = issue();
      const expires = new Date(now() + options.sessionMs).toUTCString();
      const cookie = `portainer_api_key=${jwt}; Path=/; Expires=${expires}; HttpOnly; SameSite=Strict`;
      sendJson(res, 200, { jwt }, { 'Set-Cookie': cookie });
    },

    /** True when the call may go on; else it has been answered. Key, then cookie, then bearer, as since 2.20. */
    admit({ headers, method, res }: SandboxCall): boolean {
      const key = headers['x-api-key'];
      const bearer = headers.authorization?.replace(/^Bearer\s+/i, '');
      const cookie = /(?:^|;\s*)portainer_api_key=([^;]+)/.exec(headers.cookie ?? '')?.[1];
      const refuse = (status: number, message: string) => {
        sendJson(res, status, { message, details: status === 401 ? 'Unauthorized' : 'Access denied to resource' });
        return false;
      };
      if (key !== undefined && bearer !== undefined) {
        return refuse(403, 'api key and auth header are not allowed at the same time');
      }
      if (cookie !== undefined && !['GET', 'HEAD'].includes(method) && headers['x-csrf-token'] === undefined) {
        res.writeHead(403, { 'Content-Type': 'text/plain; charset=utf-8' });
        res.end('Forbidden - CSRF token not found in request\n');
        return false;
      }
      if (key !== undefined) return key === options.apiKey || refuse(401, 'Invalid JWT token');
      const jwt = cookie ?? bearer;
      if (jwt === undefined) return refuse(401, 'A valid authorization token is missing');
      return isValid(jwt) || refuse(401, 'Invalid JWT token');
    },

    /** The signing secret is random per process: a restart makes every JWT invalid. */
    restart(): void {
      secret = nextId();
      addresses.clear();
    },

    /** Bans an address as a burst of logins would, or lifts every ban. */
    ban(address: string): void {
      addresses.set(address, { recent: [], bannedUntil: now() + banMs });
    },
    pardon(): void {
      addresses.clear();
    },
  };
}
