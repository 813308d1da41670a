import { HttpError } from '#shared/errors.ts';
import type { CallContext } from '#shared/http/define.ts';
import type { FunctionEvent, FunctionResponse } from '#shared/http/function.ts';
import { json, text } from '#shared/http/respond.ts';
import { metricsContentType } from '#shared/metrics.ts';
import type { Limits } from '../callers/limits.ts';
import type { Journal } from '../journal.ts';
import type { ProxyMetrics } from '../metrics/metrics.ts';
import type { OwnRoute } from '../own/routes.ts';
import { streamEvents } from './events.ts';
import type { History, HistoryQuery } from './history.ts';
import { matches } from './history.ts';

export interface RecordParts {
  /** undefined: HISTORY_DAYS=0. */
  history: History | undefined;
  journal: Journal;
  limits: Limits;
  metrics: Pick<ProxyMetrics, 'render'>;
  /** ms since 1970. */
  now: () => number;
}

const formats = ['text', 'json', 'ndjson', 'sse'] as const;
type Format = (typeof formats)[number];
const known = ['format', 'since', 'until', 'caller', 'model', 'status', 'outcome', 'text', 'limit', 'cursor'];

const invalid = (message: string) => new HttpError(400, message, { code: 'invalid_parameter' });

function readFormat({ query, headers }: FunctionEvent): Format {
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
function readTime(query: URLSearchParams, name: string, now: number): number | undefined {
  const given = query.get(name);
  if (given === null) return undefined;
  const [, count, unit] = /^(\d{1,6})([mhd])$/.exec(given) ?? [];
  if (count !== undefined) return now - Number(count) * { m: 60_000, h: 3_600_000, d: 86_400_000 }[unit as 'm'];
  const at = /^\d{4}-\d{2}-\d{2}/.test(given) ? Date.parse(given) : Number.NaN;
  if (!Number.isNaN(at)) return at;
  throw invalid(`${name} must be a time such as 2026-11-21T10:00:00Z, or 15m, 2h, 7d`);
}

/** The filters of `GET /history`. Throws HttpError 400 `invalid_parameter`. */
export function readHistoryQuery(event: FunctionEvent, now: number): HistoryQuery {
  const { query } = event;
  const unknown = [...query.keys()].find((name) => !known.includes(name));
  if (unknown !== undefined) throw invalid(`${unknown} is no parameter here; there is: ${known.join(', ')}`);
  const limit = Number(query.get('limit') ?? 100);
  if (!Number.isInteger(limit) || limit < 1 || limit > 1_000)
    throw invalid('limit must be a whole number from 1 to 1000');
  const status = query.get('status');
  if (status !== null && !/^\d{3}$/.test(status)) throw invalid('status must be a number such as 200');
  const cursor = query.get('cursor');
  if (cursor !== null && !/^\d{1,15}:\d{1,9}$/.test(cursor))
    throw invalid('cursor must be the next of an earlier page');
  const found: HistoryQuery = { limit };
  const since = readTime(query, 'since', now);
  const until = readTime(query, 'until', now);
  if (since !== undefined) found.since = since;
  if (until !== undefined) found.until = until;
  if (status !== null) found.status = Number(status);
  if (cursor !== null) found.cursor = cursor;
  for (const name of ['caller', 'model', 'outcome', 'text'] as const) {
    const value = query.get(name);
    if (value !== null && value !== '') found[name] = value;
  }
  return found;
}

const follow = (history: History, query: HistoryQuery, signal: AbortSignal) =>
  streamEvents(signal, (send) => history.follow((record) => matches(record, query) && send(record)));

/**
 * `GET /history`: the records of calls, newest first. `format=json` (or `Accept`) gives a page and its `next`, `ndjson` its
 * lines, `sse` every new record as it comes; without either, the predecessor's text lines of `/completion`. A key of CALLERS
 * that is no admin sees its own calls. Throws HttpError 400, and 404 where history is off.
 */
async function answerHistory(
  event: FunctionEvent,
  { caller, signal }: CallContext,
  { history, journal, limits, now }: RecordParts,
): Promise<FunctionResponse> {
  const format = readFormat(event);
  const isAdmin = limits.isAdmin(caller.name);
  if (format === 'text') {
    if (!isAdmin) throw adminOnly();
    return text(200, journal.history());
  }
  const query = readHistoryQuery(event, now());
  if (!isAdmin) query.caller = caller.name;
  if (history === undefined) throw new HttpError(404, 'History is off: HISTORY_DAYS is 0', { code: 'history_off' });
  if (format === 'sse') return follow(history, query, signal);
  const { records, next } = await history.find(query);
  if (format === 'json') return json(200, { records, next }, { 'Cache-Control': 'no-store' });
  const lines = records.map((record) => `${JSON.stringify(record)}\n`).join('');
  return { status: 200, headers: { 'Content-Type': 'application/x-ndjson' }, body: lines };
}

const adminOnly = () =>
  new HttpError(403, 'This key sees its own calls only: an admin of CALLERS sees this', { code: 'admin_only' });

/** The routes that tell of calls. */
export function createRecordRoutes(parts: RecordParts): OwnRoute[] {
  const { limits, metrics } = parts;
  return [
    { method: 'GET', path: '/history', answer: (event, context) => answerHistory(event, context, parts) },
    {
      method: 'GET',
      path: '/metrics',
      answer: (_event, { caller }) => {
        if (!limits.isAdmin(caller.name)) throw adminOnly();
        return { status: 200, headers: { 'Content-Type': metricsContentType }, body: metrics.render() };
      },
    },
    {
      method: 'GET',
      path: '/key',
      isPrefixedOnly: true,
      answer: (_event, { caller }) => json(200, limits.describe(caller.name), { 'Cache-Control': 'no-store' }),
    },
  ];
}
