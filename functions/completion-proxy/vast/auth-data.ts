/** What the autoscaler hands out for one call, and what a worker checks. In the order in which Python sorts them. */
export const authFields = ['cost', 'endpoint', 'reqnum', 'request_idx', 'signature', 'url'] as const;
export type AuthField = (typeof authFields)[number];

/** Each field as JSON text: numbers as they were written (`1.0` is not `1`), strings as Python writes them. */
export type AuthData = Record<AuthField, string>;

const numbers: ReadonlySet<AuthField> = new Set(['cost', 'reqnum', 'request_idx']);
const number = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const shortEscapes: Record<string, string> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\f': '\\f',
  '\b': '\\b',
};

/** A string as Python's json.dumps writes it: ASCII, `\uXXXX` in small letters for each UTF-16 unit, `/` as it is. */
export const toPythonString = (text: string): string =>
  `"${text.replace(
    /["\\]|[^ -~]/g,
    (char) =>
      shortEscapes[char] ??
      [...Array(char.length).keys()]
        .map((index) => `\\u${char.charCodeAt(index).toString(16).padStart(4, '0')}`)
        .join(''),
  )}"`;

export type AuthProblems = Partial<Record<AuthField, string>>;

/** One field from JSON text; undefined where it is of the wrong kind. */
function toField(field: AuthField, raw: string): string | undefined {
  if (!raw.startsWith('"')) return numbers.has(field) && number.test(raw) ? raw : undefined;
  const text = JSON.parse(raw) as string;
  if (!numbers.has(field)) return toPythonString(text);
  // One of the predecessor's clients sends the cost as a text.
  return number.test(text) ? text : undefined;
}

/** Reads the members of `auth_data`. `problems` is empty when all is there and right. */
export function readAuthMembers(members: ReadonlyMap<string, string>): { auth: AuthData; problems: AuthProblems } {
  const auth = {} as AuthData;
  const problems: AuthProblems = {};
  for (const field of authFields) {
    const raw = members.get(field);
    const value = raw === undefined ? undefined : toField(field, raw);
    if (raw === undefined) problems[field] = 'missing parameter';
    else if (value === undefined) problems[field] = numbers.has(field) ? 'must be a number' : 'must be a string';
    else auth[field] = value;
  }
  return { auth, problems };
}

/** What a worker cannot count with, though JSON can write it: an endless cost, and numbers of calls that are not exact. */
export function findUncountable({ cost, reqnum, request_idx }: AuthData): AuthProblems {
  const problems: AuthProblems = {};
  if (!Number.isFinite(Number(cost))) problems.cost = 'must be a number';
  if (!Number.isSafeInteger(Number(reqnum))) problems.reqnum = 'must be a whole number';
  if (!Number.isSafeInteger(Number(request_idx))) problems.request_idx = 'must be a whole number';
  return problems;
}

export const queryPrefix = 'serverless_';

/** Whether a pair of a query is of a ticket, however it is spelled: who reads it decodes it. */
function isAuthPair(pair: string): boolean {
  const [name = ''] = pair.split('=', 1);
  try {
    return decodeURIComponent(name).startsWith(queryPrefix);
  } catch {
    // A name that cannot be decoded is nobody's.
    return false;
  }
}

/** `search` is what stands behind the question mark. */
export const hasAuthQuery = (search: string): boolean => search.split('&').some(isAuthPair);

/** The same without what is of a ticket, byte for byte, and with its question mark; empty where nothing is left. */
export function withoutAuthQuery(search: string): string {
  const kept = search.split('&').filter((pair) => pair !== '' && !isAuthPair(pair));
  return kept.length === 0 ? '' : `?${kept.join('&')}`;
}

/** The same from `serverless_*` of a query, for calls whose body carries no JSON. */
export function readAuthQuery(query: URLSearchParams): { auth: AuthData; problems: AuthProblems } {
  const members = new Map<string, string>();
  for (const field of authFields) {
    const value = query.get(queryPrefix + field);
    if (value === null) continue;
    members.set(field, numbers.has(field) && number.test(value) ? value : JSON.stringify(value));
  }
  return readAuthMembers(members);
}

/** `serverless_cost=1.0&...` */
export const toAuthQuery = (auth: AuthData): string =>
  authFields
    .map((field) => {
      const text = auth[field];
      const value = text.startsWith('"') ? (JSON.parse(text) as string) : text;
      // Half of a surrogate pair has no spelling in a URL.
      return `${queryPrefix}${field}=${encodeURIComponent(value.toWellFormed())}`;
    })
    .join('&');

/** `{"cost": 1.0, ...}` */
export const toAuthJson = (auth: AuthData): string =>
  `{${authFields.map((field) => `"${field}": ${auth[field]}`).join(', ')}}`;
