import type { IncomingHttpHeaders } from 'node:http';
import type { Caller } from '#shared/auth/authenticate.ts';

/** RFC 9110 7.6.1: these are between two neighbours, and so is every field that Connection names. */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

function namedInConnection(raw: string[]): Set<string> {
  const named = new Set<string>();
  for (let index = 0; index < raw.length; index += 2) {
    if (raw[index]?.toLowerCase() !== 'connection') continue;
    for (const name of raw[index + 1]?.split(',') ?? []) named.add(name.trim().toLowerCase());
  }
  return named;
}

/** The fields that admitted the caller here: what opened our door must not be shown at the backend's. */
function ownCredentials(headers: IncomingHttpHeaders, caller: Caller): Set<string> {
  if (caller.method === 'hmac') return new Set(['x-hub-signature-256']);
  if (caller.method !== 'api-key') return new Set();
  const [scheme = '', value = ''] = (headers.authorization ?? '').split(/\s+/, 2);
  if (!/^(bearer|basic)$/i.test(scheme) || value === '') return new Set(['x-api-key']);
  const password = Buffer.from(value, 'base64').toString('utf8');
  const key = /^basic$/i.test(scheme) ? password.slice(password.indexOf(':') + 1) : value;
  // An X-Api-Key beside it is meant for the backend (Anthropic's clients), unless it is the same key again.
  return new Set(headers['x-api-key'] === key ? ['authorization', 'x-api-key'] : ['authorization']);
}

export interface ForwardedCaller {
  caller: Caller;
  callId: string;
  /** The backend's own credential; the caller's Authorization gives way to it. */
  authorization?: string | undefined;
}

/** Name, value, name, value for the backend, with spelling, order and repeats as they came. Host is the client's to set. */
export function toBackendHeaders(
  raw: string[],
  headers: IncomingHttpHeaders,
  { caller, callId, authorization }: ForwardedCaller,
): string[] {
  const named = namedInConnection(raw);
  const own = ownCredentials(headers, caller);
  const kept: string[] = [];
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index]!;
    const lower = name.toLowerCase();
    // Expect is between us and the caller: the server has answered 100 by now.
    if (lower === 'host' || lower === 'expect' || lower === 'x-request-id') continue;
    if (hopByHop.has(lower) || named.has(lower) || own.has(lower)) continue;
    if (lower === 'authorization' && authorization !== undefined) continue;
    kept.push(name, raw[index + 1]!);
  }
  kept.push('X-Request-ID', callId);
  if (authorization !== undefined) kept.push('Authorization', authorization);
  return kept;
}

/** The backend's fields for the caller. Its own request id stays; ours is added where it has none. */
export function toCallerHeaders(raw: string[], callId: string): [string, string][] {
  const named = namedInConnection(raw);
  const kept: [string, string][] = [];
  let hasRequestId = false;
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index]!;
    const lower = name.toLowerCase();
    if (hopByHop.has(lower) || named.has(lower)) continue;
    // The wrapper would take a backend's X-Call-Id for ours.
    if (lower === 'x-call-id') continue;
    hasRequestId ||= lower === 'x-request-id';
    kept.push([name, raw[index + 1]!]);
  }
  if (!hasRequestId) kept.push(['X-Request-ID', callId]);
  return kept;
}
