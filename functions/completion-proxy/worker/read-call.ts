import { readBytes } from '#shared/http/body.ts';
import type { FunctionEvent, FunctionResponse } from '#shared/http/function.ts';
import { json } from '#shared/http/respond.ts';
import {
  type AuthData,
  type AuthProblems,
  authFields,
  findUncountable,
  hasAuthQuery,
  queryPrefix,
  readAuthMembers,
  readAuthQuery,
  withoutAuthQuery,
} from '../vast/auth-data.ts';
import { rawMembers } from '../vast/raw-json.ts';

/** A call for the backend, out of its wrapping. */
export interface WorkerCall {
  /** Undefined for a plain call, which has no ticket. */
  auth: AuthData | undefined;
  /** Where the ticket stood: its refusals are answered otherwise. */
  inQuery: boolean;
  /** Path and query for the backend. */
  target: string;
  body: Buffer | undefined;
  /** The body was unwrapped and is JSON. */
  isUnwrapped: boolean;
}

export type ReadCall = { call: WorkerCall } | { refusal: FunctionResponse };

const refuse = (status: number, error: unknown): ReadCall => ({ refusal: json(status, error) });
const isEmpty = (problems: AuthProblems) => Object.keys(problems).length === 0;
const needsQuery = authFields.map((field) => queryPrefix + field).join(', ');
// The template's server has its own limit, MAX_BODY_BYTES.
const noLimit = Number.MAX_SAFE_INTEGER;

/** One of the predecessor's clients calls `/` and names the path in the ticket. */
function targetOf(path: string, search: string, auth: AuthData | undefined): string {
  const named = auth === undefined ? '' : (JSON.parse(auth.endpoint) as string);
  const isSafe = named.startsWith('/') && /^[!-~]+$/.test(named);
  return (path === '/' && isSafe ? named : path) + search;
}

/** `payload` of a GET becomes its query, as in the predecessor. */
function toQuery(payload: string): string {
  const members = rawMembers(payload) ?? new Map<string, string>();
  const pairs = [...members].map(([name, raw]) => {
    const value = raw.startsWith('"') ? (JSON.parse(raw) as string) : raw;
    // Half of a surrogate pair has no spelling in a URL.
    return `${encodeURIComponent(name.toWellFormed())}=${encodeURIComponent(value.toWellFormed())}`;
  });
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
}

function readMembers(bytes: Buffer): Map<string, string> | 'no-json' | 'no-object' {
  try {
    return rawMembers(bytes.toString('utf8')) ?? 'no-object';
  } catch {
    return 'no-json';
  }
}

/**
 * Reads the production format (`auth_data` and `payload` in a JSON body), `serverless_*` in the query with any body, and
 * plain calls where `allowPlain`. Throws HttpError 413 from the server's limit.
 */
export async function readCall(event: FunctionEvent, allowPlain: boolean): Promise<ReadCall> {
  const { method, path, url } = event;
  const search = url.slice(path.length + 1);
  const bytes = await readBytes(event.body, noLimit);
  const body = bytes.length === 0 ? undefined : bytes;
  const plain: ReadCall = {
    call: { auth: undefined, inQuery: false, target: url, body, isUnwrapped: false },
  };
  if (hasAuthQuery(search)) {
    const { auth, problems: wrong } = readAuthQuery(event.query);
    const problems = isEmpty(wrong) ? findUncountable(auth) : wrong;
    const kept = { inQuery: true, body, isUnwrapped: false };
    if (isEmpty(problems)) return { call: { ...kept, auth, target: targetOf(path, withoutAuthQuery(search), auth) } };
    if (allowPlain) return { call: { ...kept, auth: undefined, target: path + withoutAuthQuery(search) } };
    const [[field, problem]] = Object.entries(problems) as [[string, string]];
    return refuse(400, { error: `Invalid auth_data in query params: ${queryPrefix}${field}: ${problem}` });
  }
  if (body === undefined) {
    if (allowPlain) return plain;
    if (!['GET', 'HEAD', 'DELETE'].includes(method)) return refuse(422, { error: 'invalid JSON' });
    return refuse(400, { error: `${method} requests require auth_data in query params (${needsQuery})` });
  }
  const members = readMembers(body);
  const named = typeof members === 'string' ? undefined : members.get('auth_data');
  if (allowPlain && named === undefined) return plain;
  if (members === 'no-json') return refuse(422, { error: 'invalid JSON' });
  if (members === 'no-object') return refuse(422, { error: 'the body must be a JSON object' });
  const payload = members.get('payload');
  const fields = named === undefined ? undefined : rawMembers(named);
  const read = fields === undefined ? undefined : readAuthMembers(fields);
  if (read !== undefined && isEmpty(read.problems)) read.problems = findUncountable(read.auth);
  if (read === undefined || payload === undefined || !isEmpty(read.problems)) {
    return refuse(422, {
      ...(read === undefined ? { auth_data: 'field missing' } : {}),
      ...(read === undefined || isEmpty(read.problems) ? {} : { auth_data: read.problems }),
      ...(payload === undefined ? { payload: 'field missing' } : {}),
    });
  }
  const { auth } = read;
  const isGet = method === 'GET' || method === 'HEAD';
  const query = isGet && search === '' ? toQuery(payload) : search === '' ? '' : `?${search}`;
  return {
    call: {
      auth,
      inQuery: false,
      target: targetOf(path, query, auth),
      body: isGet ? undefined : Buffer.from(payload),
      isUnwrapped: true,
    },
  };
}

const toPattern = (glob: string) =>
  new RegExp(
    `^${glob
      .replace(/[\\^$.|+()[\]{}]/g, '\\$&')
      .replace(/\*/g, '[\\s\\S]*')
      .replace(/\?/g, '[\\s\\S]')}$`,
  );

/** As a tolerant server does it: what is no code for a character stays as it is. */
const decode = (path: string) =>
  path.replace(/(?:%[0-9a-f]{2})+/gi, (codes) => Buffer.from(codes.replaceAll('%', ''), 'hex').toString('utf8'));

/** Every spelling that a server may take for this path. */
function spellings(path: string): string[] {
  const decoded = decode(path).replace(/[\\/]+/g, '/');
  return [path, decoded, decode(new URL(decoded, 'http://worker').pathname)];
}

/** Whether one of the globs (`*`, `?`) covers a path. */
export function createPathCheck(globs: readonly string[]): (path: string) => boolean {
  const patterns = globs.map(toPattern);
  return (path) =>
    patterns.length > 0 && spellings(path).some((spelling) => patterns.some((pattern) => pattern.test(spelling)));
}
