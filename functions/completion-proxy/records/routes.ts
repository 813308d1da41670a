import { HttpError } from '#shared/errors.ts';
import type { CallContext } from '#shared/http/define.ts';
import type { FunctionEvent, FunctionResponse } from '#shared/http/function.ts';
import { json, text } from '#shared/http/respond.ts';
import { metricsContentType } from '#shared/metrics.ts';
import type { Limits } from '../callers/limits.ts';
import type { Journal } from '../journal.ts';
import type { ProxyMetrics } from '../metrics/metrics.ts';
import type { OwnRoute } from '../own/routes.ts';
import { streamEvents, streamLines } from './events.ts';
import type { History, HistoryQuery } from './history.ts';
import { matches } from './history.ts';
import { answerLogs } from './logs-route.ts';
import { adminOnly, invalid, readFollow, readFormat, readTime, refuseUnknown } from './parameters.ts';

export interface RecordParts {
  /** undefined: HISTORY_DAYS=0. */
  history: History | undefined;
  journal: Journal;
  limits: Limits;
  metrics: Pick<ProxyMetrics, 'render'>;
  /** ms since 1970. */
  now: () => number;
}

const known = ['format', 'since', 'until', 'caller', 'model', 'status', 'outcome', 'text', 'limit', 'cursor', 'follow'];

/** The filters of `GET /history`. Throws HttpError 400 `invalid_parameter`. */
export function readHistoryQuery(event: FunctionEvent, now: number): HistoryQuery {
  const { query } = event;
  refuseUnknown(query, known);
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

const follow = (history: History, query: HistoryQuery, signal: AbortSignal, stream: typeof streamEvents) =>
  stream(signal, (send) => history.follow((record) => matches(record, query) && send(record)));

/**
 * `GET /history`: the records of calls, newest first. `format=json` (or `Accept`) gives a page and its `next`, `ndjson` its
 * lines, `sse` (or `ndjson` with `follow=true`) every new record as it comes; without either, the predecessor's text lines of `/completion`. A key of CALLERS
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
  if (readFollow(event.query, format)) {
    return follow(history, query, signal, format === 'sse' ? streamEvents : streamLines);
  }
  const { records, next } = await history.find(query);
  if (format === 'json') return json(200, { records, next }, { 'Cache-Control': 'no-store' });
  const lines = records.map((record) => `${JSON.stringify(record)}\n`).join('');
  return { status: 200, headers: { 'Content-Type': 'application/x-ndjson' }, body: lines };
}

/** The routes that tell of calls. */
export function createRecordRoutes(parts: RecordParts): OwnRoute[] {
  const { limits, metrics, journal, now } = parts;
  return [
    {
      method: 'GET',
      path: '/logs',
      answer: (event, { caller, signal }) => {
        if (!limits.isAdmin(caller.name)) throw adminOnly();
        return answerLogs(event, signal, journal, now());
      },
    },
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
