import { HttpError } from '#shared/errors.ts';
import type { FunctionEvent } from '#shared/http/function.ts';

const formats = ['text', 'json', 'ndjson', 'sse'] as const;
export type Format = (typeof formats)[number];

export const invalid = (message: string) => new HttpError(400, message, { code: 'invalid_parameter' });

export const adminOnly = () =>
  new HttpError(403, 'This key sees its own calls only: an admin of CALLERS sees this', { code: 'admin_only' });

export function refuseUnknown(query: URLSearchParams, known: readonly string[]): void {
  const unknown = [...query.keys()].find((name) => !known.includes(name));
  if (unknown !== undefined) throw invalid(`${unknown} is no parameter here; there is: ${known.join(', ')}`);
}

/** `format`, else what `Accept` asks for, else text. */
export function readFormat({ query, headers }: FunctionEvent): Format {
  const asked = query.get('format');
  if (asked !== null) {
    if ((formats as readonly string[]).includes(asked)) return asked as Format;
    throw invalid(`format must be one of ${formats.join(', ')}`);
  }
  const accept = headers.accept ?? '';
  if (accept.includes('text/event-stream')) return 'sse';
  if (accept.includes('ndjson')) return 'ndjson';
  return accept.includes('application/json') ? 'json' : 'text';
}

/** `2026-11-21`, `2026-11-21T10:00:00Z`, or `15m`, `2h`, `7d` ago. */
export function readTime(query: URLSearchParams, name: string, now: number): number | undefined {
  const given = query.get(name);
  if (given === null) return undefined;
  const [, count, unit] = /^(\d{1,6})([mhd])$/.exec(given) ?? [];
  if (count !== undefined) return now - Number(count) * { m: 60_000, h: 3_600_000, d: 86_400_000 }[unit as 'm'];
  const at = /^\d{4}-\d{2}-\d{2}/.test(given) ? Date.parse(given) : Number.NaN;
  if (!Number.isNaN(at)) return at;
  throw invalid(`${name} must be a time such as 2026-11-21T10:00:00Z, or 15m, 2h, 7d`);
}

/** `follow=true` goes on with what comes; an event stream always does, unless told otherwise. */
export function readFollow(query: URLSearchParams, format: Format): boolean {
  const given = query.get('follow');
  if (given !== null && given !== 'true' && given !== 'false') throw invalid('follow must be true or false');
  if (given === 'true' && format !== 'sse' && format !== 'ndjson') throw invalid('follow takes format sse or ndjson');
  return given === null ? format === 'sse' : given === 'true';
}
