import type { IncomingHttpHeaders } from 'node:http';
import type { Caller } from '#shared/auth/authenticate.ts';
import { type Backend, credentialFields } from './backends/backend.ts';
import { type Trace, toTraceparent } from './traces/trace.ts';

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
/** Beside those, what is ours to say to a backend. Expect is between us and the caller: the server has answered 100 by now. */
const oursToBackends = new Set([...hopByHop, 'host', 'expect', 'x-request-id', 'via']);
/** What stays here of an answer: a backend that sends back what it was sent would tell its callers our credential. */
const notForCallers: ReadonlySet<string> = new Set([
  ...hopByHop,
  'authorization',
  'x-api-key',
  'api-key',
  'x-goog-api-key',
  'xi-api-key',
]);

/** What Connection names, where it names more than itself. */
function namedInConnection(raw: readonly string[]): ReadonlySet<string> | undefined {
  let named: Set<string> | undefined;
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index]!;
    if (name.length !== 10 || name.toLowerCase() !== 'connection') continue;
    const value = raw[index + 1] ?? '';
    if (value === 'keep-alive' || value === 'close') continue;
    named ??= new Set();
    for (const other of value.split(',')) named.add(other.trim().toLowerCase());
  }
  return named;
}

const none: ReadonlySet<string> = new Set();
const authorizationOnly: ReadonlySet<string> = new Set(['authorization']);
const apiKeyOnly: ReadonlySet<string> = new Set(['x-api-key']);
const bothKeys: ReadonlySet<string> = new Set(['authorization', 'x-api-key']);

function passwordOf(basic: string): string {
  const pair = Buffer.from(basic, 'base64').toString('utf8');
  return pair.slice(pair.indexOf(':') + 1);
}

/**
 * The fields that stay here: what opened our door, and `Authorization` whatever it holds, unless the backend is to have it
 * (then our key came in `X-Api-Key`).
 */
function ownCredentials(
  headers: IncomingHttpHeaders,
  caller: Caller,
  { forwardAuthorization = false }: Backend,
): ReadonlySet<string> {
  const isKeyed = caller.method === 'api-key';
  if (forwardAuthorization) return isKeyed ? apiKeyOnly : none;
  const other = headers['x-api-key'];
  if (!isKeyed || other === undefined) return authorizationOnly;
  const [scheme = '', value = ''] = (headers.authorization ?? '').split(/\s+/, 2);
  if (caller.inApiKeyHeader === true || !/^(bearer|basic)$/i.test(scheme) || value === '') return bothKeys;
  const key = /^basic$/i.test(scheme) ? passwordOf(value) : value;
  // An X-Api-Key beside it is meant for the backend (Anthropic's clients), unless it is the same key again.
  return other === key ? bothKeys : authorizationOnly;
}

export interface ForwardedCall {
  rawHeaders: readonly string[];
  headers: IncomingHttpHeaders;
  caller: Caller;
  callId: string;
}

export interface SendingRules {
  isBodyAtHand?: boolean;
  /** The answer is to come uncompressed. */
  isRead?: boolean;
  /** Ours, in place of the caller's fields. */
  trace?: Trace | undefined;
}

const ownVia = '1.1 completion-proxy';

/** How often a call has passed a completion proxy: a backend that is our own address would send it round for ever. */
export const timesPassed = ({ via = '' }: IncomingHttpHeaders) => via.split('completion-proxy').length - 1;

/**
 * Name, value, name, value for the backend, with spelling, order and repeats as they came. Host is the client's to set,
 * and the length where the body is at hand.
 */
export function toBackendHeaders(
  { rawHeaders: raw, headers, caller, callId }: ForwardedCall,
  backend: Backend,
  { isBodyAtHand = false, isRead = false, trace }: SendingRules = {},
): string[] {
  const named = namedInConnection(raw);
  const own = ownCredentials(headers, caller, backend);
  const key = backend.credential?.read();
  const kept: string[] = [];
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index]!;
    const lower = name.toLowerCase();
    if (oursToBackends.has(lower) || own.has(lower) || named?.has(lower) === true) continue;
    if (isBodyAtHand && lower === 'content-length') continue;
    if (isRead && lower === 'accept-encoding') continue;
    if (trace !== undefined && (lower === 'traceparent' || lower === 'tracestate')) continue;
    if (key !== undefined && (lower === 'authorization' || lower === 'x-api-key' || lower === 'api-key')) continue;
    kept.push(name, raw[index + 1]!);
  }
  kept.push('X-Request-ID', callId, 'Via', headers.via === undefined ? ownVia : `${headers.via}, ${ownVia}`);
  if (trace !== undefined) {
    kept.push('traceparent', toTraceparent(trace));
    if (trace.state !== undefined) kept.push('tracestate', trace.state);
  }
  if (key !== undefined) {
    const { name, value } = credentialFields(backend, key);
    kept.push(name, value);
  }
  return kept;
}

export interface CallerFields {
  callId: string;
  /** The backend's CORS fields give way to ours. */
  withoutCors?: boolean;
  /** The backend's limits give way to ours. */
  withoutLimits?: boolean;
  /** Our span of the caller's trace. */
  trace?: Trace | undefined;
}

/** The backend's fields for the caller. Its own request id stays; ours is added where it has none. */
export function toCallerHeaders(
  raw: readonly string[],
  { callId, withoutCors = false, withoutLimits = false, trace }: CallerFields,
): [string, string][] {
  const named = namedInConnection(raw);
  const kept: [string, string][] = [];
  let hasRequestId = false;
  let isEventStream = false;
  let hasBuffering = false;
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index]!;
    const value = raw[index + 1]!;
    const lower = name.toLowerCase();
    if (notForCallers.has(lower) || named?.has(lower) === true) continue;
    // The wrapper would take a backend's X-Call-Id for ours.
    if (lower === 'x-call-id' || (trace !== undefined && lower === 'traceparent')) continue;
    if (withoutCors && lower.startsWith('access-control-')) continue;
    if (withoutLimits && lower.startsWith('x-ratelimit-')) continue;
    if (lower === 'x-request-id') hasRequestId = true;
    else if (lower === 'x-accel-buffering') hasBuffering = true;
    else if (lower === 'content-type') isEventStream = value.startsWith('text/event-stream');
    kept.push([name, value]);
  }
  if (trace !== undefined) kept.push(['traceparent', toTraceparent(trace)]);
  if (!hasRequestId) kept.push(['X-Request-ID', callId]);
  // nginx in front of us would collect the stream.
  if (isEventStream && !hasBuffering) kept.push(['X-Accel-Buffering', 'no']);
  return kept;
}
