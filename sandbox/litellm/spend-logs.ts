import { sendJson } from '../server.ts';
import { sendProxyError, sendRefusals, toModelTime, toWireRow } from './answers.ts';
import { compare, dayMs, hashKey, type SpendLogRow } from './rows.ts';
import type { View } from './view.ts';

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
  for (const row of rows.toSorted((left, right) => compare(left.startTime, right.startTime))) {
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

type Filter = 'api_key' | 'request_id' | 'user_id';

function isWanted(row: SpendLogRow, filter: Filter, value: string): boolean {
  if (filter === 'api_key') return row.api_key === value;
  if (filter === 'user_id') return row.user === value;
  return row.request_id === value || row.litellm_call_id === value;
}

/** Old versions apply one filter, in this order, so that a key's filter takes an internal user out of its scope. */
function filterRows({ call, profile, scope, logs }: View, hasDates: boolean): SpendLogRow[] {
  const { query } = call;
  const key = query.get('api_key');
  const hashed = key?.startsWith('sk-') && (!hasDates || profile.hashesKeys) ? hashKey(key) : key;
  const filters: [Filter, string | null][] = [
    ['api_key', hashed],
    ['request_id', query.get('request_id')],
    ['user_id', scope.userId ?? query.get('user_id')],
  ];
  const given = filters.filter((filter): filter is [Filter, string] => filter[1] !== null);
  const applied = profile.joinsFilters ? given : given.slice(0, 1);
  return logs().filter((row) => applied.every(([filter, value]) => isWanted(row, filter, value)));
}

/**
 * `GET /spend/logs`: raw rows without dates (one date alone counts as none), a summary by day with both, raw rows of the
 * window with `summarize=false` where the version knows it. Rows after midnight of the end date are left out.
 */
export function answerSpendLogs(view: View) {
  const { profile } = view;
  const { query, res } = view.call;
  const summarized = profile.knowsSummarize ? (query.get('summarize') ?? 'true') : 'true';
  if (!truths.test(summarized) && !untruths.test(summarized)) {
    const msg = 'Input should be a valid boolean, unable to interpret input';
    return sendRefusals(res, [{ type: 'bool_parsing', loc: ['query', 'summarize'], msg, input: summarized }]);
  }
  const [start, end] = [query.get('start_date'), query.get('end_date')];
  const hasDates = start !== null && end !== null;
  let found = filterRows(view, hasDates);
  if (hasDates) {
    const [startMs, endMs] = [parseDay(start), parseDay(end)];
    const bad = [startMs, endMs].find((parsed) => typeof parsed === 'string');
    if (typeof startMs === 'string' || typeof endMs === 'string') {
      return sendProxyError(res, 500, { message: `/spend/logs Error${bad}`, type: 'internal_error' });
    }
    const [from, to] = [new Date(startMs).toISOString(), new Date(endMs).toISOString()];
    found = found.filter((row) => row.startTime >= from && row.startTime <= to);
    if (truths.test(summarized)) return sendJson(res, 200, summarize(found, endMs));
  }
  if (found.length === 0 && profile.answersNull && query.get('request_id') !== null) return sendJson(res, 200, [null]);
  const newest = found.toSorted((left, right) => compare(right.startTime, left.startTime));
  const shown = newest.slice(0, profile.rawRowCap);
  // Columns that are empty unless prompts are stored; they came with 1.59.
  const prompts = profile.knowsSummarize ? { messages: {}, response: {}, proxy_server_request: {} } : {};
  sendJson(
    res,
    200,
    shown.map((row) => ({ ...toWireRow(row, profile, toModelTime), ...prompts })),
    shown.length === profile.rawRowCap ? { 'x-litellm-spend-logs-truncated': 'true' } : {},
  );
}
