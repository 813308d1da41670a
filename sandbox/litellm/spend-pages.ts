import { sendJson } from '../server.ts';
import { parseCount, type Refusal, sendProxyError, sendRefusals, toSqlTime, toWireRow } from './answers.ts';
import { compare, type SpendLogRow } from './rows.ts';
import type { View } from './view.ts';

const secondsPattern = /^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$/;
const dayPattern = /^\d{4}-\d{2}-\d{2}$/;

function parseMoment(text: string, allowsDay: boolean): number {
  if (secondsPattern.test(text)) return Date.parse(`${text.replace(' ', 'T')}Z`);
  return allowsDay && dayPattern.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
}

const sortable = ['spend', 'total_tokens', 'startTime', 'endTime', 'request_duration_ms', 'model'] as const;

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

/** Rows of the same time have no order of their own: from call to call another of them comes first. */
function shiftTies<T>(sorted: T[], isTie: (left: T, right: T) => boolean, turn: number): T[] {
  const shifted: T[] = [];
  for (let start = 0; start < sorted.length; ) {
    let end = start + 1;
    while (end < sorted.length && isTie(sorted[start]!, sorted[end]!)) end++;
    const ties = sorted.slice(start, end);
    const by = turn % ties.length;
    shifted.push(...ties.slice(by), ...ties.slice(0, by));
    start = end;
  }
  return shifted;
}

/** `GET /spend/logs/v2` and `/spend/logs/ui`: pages of raw rows, both ends inclusive, newest first unless asked. */
export function answerSpendLogPages({ call, logs, profile, scope, turn }: View) {
  const { query, res, path } = call;
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
  const sortBy = (profile.sortsPages && sortable.find((name) => name === query.get('sort_by'))) || 'startTime';
  const sign = profile.sortsPages && query.get('sort_order') === 'asc' ? 1 : -1;
  const [from, to] = [new Date(startMs).toISOString(), new Date(endMs).toISOString()];
  const found = logs()
    .filter(
      (row) =>
        row.startTime >= from &&
        row.startTime <= to &&
        (scope.userId === null || row.user === scope.userId) &&
        isWanted(row, query),
    )
    .sort((left, right) => sign * compare(left[sortBy], right[sortBy]));
  const ordered = shiftTies(found, (left, right) => left[sortBy] === right[sortBy], turn);
  const total = Math.min(found.length, profile.totalCap);
  sendJson(res, 200, {
    data: ordered.slice((page - 1) * pageSize, page * pageSize).map((row) => toWireRow(row, profile, toSqlTime)),
    total,
    page,
    page_size: pageSize,
    total_pages: Math.ceil(total / pageSize),
    // The flag came with the cap.
    ...(profile.totalCap === Number.MAX_SAFE_INTEGER ? {} : { total_is_capped: found.length > profile.totalCap }),
  });
}
