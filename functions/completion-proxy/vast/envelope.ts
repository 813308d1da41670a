import { type AuthData, toAuthJson, toAuthQuery, withoutAuthQuery } from './auth-data.ts';

/** A call before it has a ticket: its parts, and how the ticket is to travel. */
export interface Parcel {
  method: string;
  /** Path and query. */
  path: string;
  /** Name, value, name, value. */
  headers: readonly string[];
  body: Buffer | undefined;
  /** The body as it parses; undefined where it is no JSON. */
  payload: unknown;
}

export interface Sealed {
  path: string;
  headers: string[];
  body: Buffer | null;
}

const bodiless = new Set(['GET', 'HEAD', 'DELETE']);
// They are about the bytes that the caller sent, or for us.
const notPassedOn = new Set(['content-length', 'x-serverless-cost', 'prefer']);

function without(headers: readonly string[], names: ReadonlySet<string>): string[] {
  const kept: string[] = [];
  for (let index = 0; index < headers.length; index += 2) {
    if (!names.has(headers[index]!.toLowerCase())) kept.push(headers[index]!, headers[index + 1]!);
  }
  return kept;
}

const withType = new Set([...notPassedOn, 'content-type']);
const opening = (auth: AuthData) => `{"auth_data": ${toAuthJson(auth)}, "payload": `;

/**
 * Puts the ticket where the worker looks for it: beside the payload in a JSON body, else in the query, with the body as it
 * is (which only our own worker takes with POST).
 */
export function seal({ method, path: given, headers, body, payload }: Parcel, auth: AuthData): Sealed {
  // A caller's own would be read in place of ours.
  const [bare = '/'] = given.split('?', 1);
  const path = bare + withoutAuthQuery(given.slice(bare.length + 1));
  const isEmpty = body === undefined || body.length === 0;
  if (bodiless.has(method) || (!isEmpty && payload === undefined)) {
    const query = `${path.includes('?') ? '&' : '?'}${toAuthQuery(auth)}`;
    return { path: path + query, headers: without(headers, notPassedOn), body: isEmpty ? null : body };
  }
  const wrapped = Buffer.concat([Buffer.from(opening(auth)), isEmpty ? Buffer.from('{}') : body, Buffer.from('}')]);
  return { path, headers: [...without(headers, withType), 'Content-Type', 'application/json'], body: wrapped };
}

export function parsePayload(body: Buffer | undefined): unknown {
  if (body === undefined || body.length === 0) return undefined;
  try {
    return JSON.parse(body.toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}
