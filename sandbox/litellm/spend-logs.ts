import { type SandboxCall, sendJson } from '../server.ts';
import {
  type Profile,
  parseCount,
  type Refusal,
  sendProxyError,
  sendRefusals,
  toModelTime,
  toSqlTime,
  withTimes,
} from './answers.ts';
import { dayMs, hashKey, type SpendLogRow } from './rows.ts';

const truths = /^(true|1|yes|on|t|y)$/i;
const untruths = /^(false|0|no|off|f|n)$/i;
const toDay = (ms: number) => new Date(ms).toISOString().slice(0, 10);

/** Midnight of `YYYY-MM-DD`, else what Python's strptime says of it. */
function parseDay(text: string): number | string {
  const [day, rest] = [text.slice(0, 10), text.slice(10)];
  const ms = Date.parse(`${day}T00:00:00Z`);
  if (!/^\d{4}-\d{2}-\d{2}$/.test(day) || Number.isNaN(ms) || toDay(ms) !== day) {
    return `time data '${text}' does not match format '%Y-%m-%d'`;
  }
  return rest === '' ? ms : `unconverted data remains: ${rest}`;
}

type DaySummary = {
  startTime: string;
  spend: number;
  users: Record<string, number>;
  models: Record<string, number>;
} & Record<string, unknown>;

/** One object a UTC day. Days without rows are absent, but for those after the last day with rows up to the end date. */
function summarize(rows: SpendLogRow[], endMs: number): DaySummary[] {
  const days = new Map<string, DaySummary>();
  for (const row of rows.toSorted((left, right) => left.startTime.localeCompare(right.startTime))) {
    const day = row.startTime.slice(0, 10);
    const summary: DaySummary = days.get(day) ?? { startTime: day, spend: 0, users: {}, models: {} };
    days.set(day, summary);
    summary.spend += row.spend;
    summary.users[row.user] = (summary.users[row.user] ?? 0) + row.spend;
    summary.models[row.model] = (summary.models[row.model] ?? 0) + row.spend;
    summary[row.api_key] = ((summary[row.api_key] as number | undefined) ?? 0) + row.spend;
  }
  const summaries = [...days.values()];
  const last = summaries.at(-1)?.startTime;
  if (last === undefined) return [];
  for (let ms = Date.parse(`${last}T00:00:00Z`) + dayMs; ms <= endMs; ms += dayMs) {
    summaries.push({ startTime: toDay(ms), spend: 0, users: {}, models: {} });
  }
  return summaries;
}

/**
 * `GET /spend/logs`: raw rows without dates (one date alone counts as none), a summary by day with both, raw rows of the
 * window with `summarize=false`. Rows after midnight of the end date are left out, as LiteLLM leaves them out.
 */
export function answerSpendLogs({ query, res }: SandboxCall, rows: SpendLogRow[], profile: Profile) {
  const summarized = query.get('summarize') ?? 'true';
  if (!truths.test(summarized) && !untruths.test(summarized)) {
    const msg = 'Input should be a valid boolean, unable to interpret input';
    return sendRefusals(res, [{ type: 'bool_parsing', loc: ['query', 'summarize'], msg, input: summarized }]);
  }
  const key = query.get('api_key');
  const wanted = {
    api_key: key?.startsWith('sk-') ? hashKey(key) : key,
    user: query.get('user_id'),
  };
  const id = query.get('request_id');
  let found = rows.filter(
    (row) =>
      (wanted.api_key === null || row.api_key === wanted.api_key) &&
      (wanted.user === null || row.user === wanted.user) &&
      (id === null || row.request_id === id || row.litellm_call_id === id),
  );
  const [start, end] = [query.get('start_date'), query.get('end_date')];
  if (start !== null && end !== null) {
    const [startMs, endMs] = [parseDay(start), parseDay(end)];
    const bad = [startMs, endMs].find((parsed) => typeof parsed === 'string');
    if (typeof startMs === 'string' || typeof endMs === 'string') {
      return sendProxyError(res, 500, { message: `/spend/logs Error${bad}`, type: 'internal_error' });
    }
    found = found.filter((row) => Date.parse(row.startTime) >= startMs && Date.parse(row.startTime) <= endMs);
    if (truths.test(summarized)) return sendJson(res, 200, summarize(found, endMs));
  }
  const newest = found.toSorted((left, right) => right.startTime.localeCompare(left.startTime));
  const shown = newest.slice(0, profile.rawRowCap);
  sendJson(
    res,
    200,
    shown.map((row) => ({ ...withTimes(row, toModelTime), messages: {}, response: {}, proxy_server_request: {} })),
    shown.length === profile.rawRowCap ? { 'x-litellm-spend-logs-truncated': 'true' } : {},
  );
}

const secondsPattern = /^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$/;
const dayPattern = /^\d{4}-\d{2}-\d{2}$/;

function parseMoment(text: string, allowsDay: boolean): number {
  if (secondsPattern.test(text)) return Date.parse(`${text.replace(' ', 'T')}Z`);
  return allowsDay && dayPattern.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
}

const sortable = ['spend', 'total_tokens', 'startTime', 'endTime', 'request_duration_ms', 'model'] as const;

function compare(left: string | number, right: string | number): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** The filters of v2 that hold a column to one value; the names differ for two of them. */
const equalities = ['api_key', 'request_id', 'team_id', 'model', 'model_id', 'model_group', 'end_user'] as const;

function isWanted(row: SpendLogRow, query: URLSearchParams): boolean {
  const status = query.get('status_filter');
  const [least, most] = [query.get('min_spend'), query.get('max_spend')];
  return (
    equalities.every((name) => query.get(name) === null || row[name] === query.get(name)) &&
    (query.get('user_id') === null || row.user === query.get('user_id')) &&
    (status === null || (row.status ?? 'success') === status) &&
    (least === null || row.spend >= Number(least)) &&
    (most === null || row.spend <= Number(most))
  );
}

/** `GET /spend/logs/v2` and `/spend/logs/ui`: pages of raw rows, both ends inclusive, newest first unless asked. */
export function answerSpendLogPages({ query, res, path }: SandboxCall, rows: SpendLogRow[], profile: Profile) {
  const refusals: Refusal[] = [];
  const page = parseCount(query, 'page', { fallback: 1 }, refusals);
  const pageSize = parseCount(query, 'page_size', { fallback: 50, max: profile.maxPageSize }, refusals);
  if (refusals.length > 0) return sendRefusals(res, refusals);

  const [start, end] = [query.get('start_date'), query.get('end_date')];
  if (!start || !end) {
    return sendProxyError(res, 400, { message: 'Start date and end date are required', type: 'bad_request' });
  }
  const isPublic = path.endsWith('/v2');
  const [startMs, endMs] = [parseMoment(start, isPublic), parseMoment(end, isPublic)];
  if (Number.isNaN(startMs) || Number.isNaN(endMs)) {
    const expected = isPublic ? "'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS'" : "'YYYY-MM-DD HH:MM:SS'";
    const message = `Invalid date format: ${Number.isNaN(startMs) ? start : end}. Expected: ${expected}`;
    return sendProxyError(res, 400, { message, type: 'bad_request' });
  }
  const sortBy = sortable.find((name) => name === query.get('sort_by')) ?? 'startTime';
  const sign = query.get('sort_order') === 'asc' ? 1 : -1;
  const found = rows
    .filter((row) => Date.parse(row.startTime) >= startMs && Date.parse(row.startTime) <= endMs && isWanted(row, query))
    .sort((left, right) => sign * compare(left[sortBy], right[sortBy]));
  const total = Math.min(found.length, profile.totalCap);
  sendJson(res, 200, {
    data: found.slice((page - 1) * pageSize, page * pageSize).map((row) => withTimes(row, toSqlTime)),
    total,
    page,
    page_size: pageSize,
    total_pages: Math.ceil(total / pageSize),
    total_is_capped: found.length > profile.totalCap,
  });
}
