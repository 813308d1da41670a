import type { IncomingHttpHeaders } from 'node:http';
import { ConfigError, HttpError } from '../errors.ts';
import { equalSecrets, findCaller, signBody } from './keys.ts';

export type AuthMethod = 'api-key' | 'hmac' | 'none';

export interface Caller {
  /** The key's name, or how the call was admitted. Logged. */
  name: string;
  method: AuthMethod | 'scheduled-tick';
  /** The key that admitted it came in `X-Api-Key`: what stands in `Authorization` beside it is none of ours. */
  inApiKeyHeader?: true;
}

/** What authentication looks at. `rawBody` collects the body for a signature check; nothing else reads it. */
export interface AuthCall {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  rawBody(): Promise<Buffer>;
}

/** Gives the caller, or a promise of it, which rejects with HttpError 401 `unauthorized` or 403 `cross_site`. */
export type Authenticate = (call: AuthCall) => Caller | Promise<Caller>;

interface SecretSource {
  readonly name: string;
  read(): string | undefined;
}

/** The values of `authSettings` (shared/config/common.ts). */
export interface AuthSettings {
  AUTH: AuthMethod[];
  ALLOW_SCHEDULED_TICK: boolean;
  'function-api-key': SecretSource;
  'webhook-secret': SecretSource;
}

interface Presented {
  key: string;
  from: 'bearer' | 'basic' | 'x-api-key';
}

/** Both are tried: a program may have a key of somebody else's in the one, and ours in the other. */
function presentedKeys(headers: IncomingHttpHeaders): Presented[] {
  const keys: Presented[] = [];
  const [scheme = '', value = ''] = (headers.authorization ?? '').split(/\s+/, 2);
  if (/^bearer$/i.test(scheme) && value !== '') keys.push({ key: value, from: 'bearer' });
  if (/^basic$/i.test(scheme)) {
    const pair = Buffer.from(value, 'base64').toString('utf8');
    // The password is the key; the user name is for the browser's dialog only.
    keys.push({ key: pair.slice(pair.indexOf(':') + 1), from: 'basic' });
  }
  const header = headers['x-api-key'];
  if (typeof header === 'string' && header !== '') keys.push({ key: header, from: 'x-api-key' });
  return keys;
}

/** A browser sends a remembered Basic password with any page's form: unsafe methods must come from our own page. */
function isSameOrigin({ headers }: AuthCall): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return site === 'same-origin' || site === 'none';
  if (headers.origin === undefined) return true;
  return URL.parse(headers.origin)?.host === headers.host;
}

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * A tick as cron-connector sends it: an empty POST to `/` with `X-Connector: cron-connector` and no credential. Anyone
 * who reaches the function can send one, which is why it takes no parameters and is off unless allowed.
 */
function isScheduledTick({ method, path, headers }: AuthCall): boolean {
  const empty = headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0;
  return (
    method === 'POST' &&
    path === '/' &&
    headers['x-connector'] === 'cron-connector' &&
    headers.authorization === undefined &&
    headers['x-api-key'] === undefined &&
    headers['x-hub-signature-256'] === undefined &&
    empty
  );
}

/**
 * Checks calls by the methods in `AUTH`, any of which admits. Throws ConfigError at start when a method's secret is
 * missing, so that no function is open by accident; secrets are re-read while it runs.
 */
export function createAuthenticate(settings: AuthSettings, realm: string): Authenticate {
  const methods = new Set(settings.AUTH);
  const apiKeys = settings['function-api-key'];
  const webhookSecret = settings['webhook-secret'];
  const missing = (name: string, method: AuthMethod) =>
    `AUTH has ${method}: create the secret ${name}, or set ${name.toUpperCase().replaceAll('-', '_')}`;
  const problems = [
    ...(methods.has('api-key') && apiKeys.read() === undefined ? [missing(apiKeys.name, 'api-key')] : []),
    ...(methods.has('hmac') && webhookSecret.read() === undefined ? [missing(webhookSecret.name, 'hmac')] : []),
  ];
  if (problems.length > 0) throw new ConfigError(problems);

  const admitted = createAdmitted();

  async function admit(call: AuthCall): Promise<Caller> {
    if (settings.ALLOW_SCHEDULED_TICK && isScheduledTick(call)) {
      return { name: 'cron-connector', method: 'scheduled-tick' };
    }
    const signature = call.headers['x-hub-signature-256'];
    if (methods.has('hmac') && typeof signature === 'string') {
      const secret = webhookSecret.read();
      const body = await call.rawBody();
      if (secret !== undefined && equalSecrets(signature, signBody(body, secret))) {
        return { name: 'webhook', method: 'hmac' };
      }
      throw new HttpError(401, 'X-Hub-Signature-256 does not match the body and the shared secret', {
        code: 'bad_signature',
      });
    }
    if (methods.has('api-key')) {
      const lines = apiKeys.read() ?? '';
      for (const { key, from } of presentedKeys(call.headers)) {
        const name = findCaller(lines, key);
        if (name === undefined) continue;
        if (from === 'basic' && !safeMethods.has(call.method) && !isSameOrigin(call)) {
          throw new HttpError(403, 'A page of another site sent this call', { code: 'cross_site' });
        }
        const caller: Caller = { name, method: 'api-key', ...(from === 'x-api-key' ? { inApiKeyHeader: true } : {}) };
        if (from !== 'basic') admitted.remember(lines, call.headers, caller);
        return caller;
      }
    }
    if (methods.has('none')) return { name: 'anonymous', method: 'none' };
    throw new HttpError(401, refusal(methods), {
      code: 'unauthorized',
      headers: methods.has('api-key') ? { 'WWW-Authenticate': `Basic realm="${realm}", charset="UTF-8"` } : {},
    });
  }

  // With other methods beside it, which one counts is for the whole check to say.
  if (!methods.has('api-key') || methods.has('hmac')) return admit;
  // A call with a credential is no tick.
  return (call) => admitted.find(apiKeys.read() ?? '', call.headers) ?? admit(call);
}

const maxAdmitted = 1_000;

/**
 * Who was admitted by which header, so that a key is taken apart and compared once and not with each call. Only texts that
 * were admitted are in it, and all of it is forgotten when the secret changes. A text that is not in it is told from those
 * that are by a hash with a seed of its own per process: time says nothing of how far two texts are alike.
 */
function createAdmitted() {
  let keys = '';
  const byAuthorization = new Map<string, Caller>();
  const byApiKey = new Map<string, Caller>();
  /** Where the text and the map are that tell the caller; a call with both headers is looked at anew each time. */
  const placeOf = ({ authorization, 'x-api-key': key }: IncomingHttpHeaders) => {
    if (authorization !== undefined)
      return key === undefined ? { text: authorization, map: byAuthorization } : undefined;
    return typeof key === 'string' ? { text: key, map: byApiKey } : undefined;
  };
  return {
    find(lines: string, headers: IncomingHttpHeaders): Caller | undefined {
      const place = lines === keys ? placeOf(headers) : undefined;
      return place?.map.get(place.text);
    },
    remember(lines: string, headers: IncomingHttpHeaders, caller: Caller) {
      const place = placeOf(headers);
      if (place === undefined) return;
      if (lines !== keys || place.map.size >= maxAdmitted) {
        byAuthorization.clear();
        byApiKey.clear();
      }
      keys = lines;
      place.map.set(place.text, caller);
    },
  };
}

function refusal(methods: Set<AuthMethod>): string {
  const ways = [
    ...(methods.has('api-key') ? ['a known key as "Authorization: Bearer <key>" or "X-Api-Key: <key>"'] : []),
    ...(methods.has('hmac') ? ['"X-Hub-Signature-256: sha256=<hex>" over the body'] : []),
  ];
  return `This function needs ${ways.join(', or ')}`;
}
