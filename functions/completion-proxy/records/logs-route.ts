import type { FunctionEvent, FunctionResponse } from '#shared/http/function.ts';
import { json, text } from '#shared/http/respond.ts';
import type { Journal, JournalLevel, JournalLine } from '../journal.ts';
import { streamEvents, streamLines } from './events.ts';
import { invalid, readFollow, readFormat, readTime, refuseUnknown } from './parameters.ts';

const rank: Record<JournalLevel, number> = { INFO: 1, WARNING: 2, ERROR: 3 };
/** Every spelling that LOG_LEVEL takes. */
const levels: Record<string, number> = { DEBUG: 0, INFO: 1, WARN: 2, WARNING: 2, ERROR: 3, CRITICAL: 3, FATAL: 3 };

function readLevel(query: URLSearchParams): number {
  const given = query.get('level');
  if (given === null) return 0;
  const least = levels[given.toUpperCase()];
  if (least === undefined) throw invalid('level must be debug, info, warning, error or critical');
  return least;
}

const toJson = ({ at, level, origin, callId, message }: JournalLine) => ({
  time: new Date(at).toISOString(),
  level,
  origin,
  call_id: callId,
  message,
});

/**
 * `GET /logs`: the lines since `since` of `level` and above; as text those of the predecessor, else `format` (or `Accept`)
 * json, ndjson or sse. `follow` goes on with new lines. Throws HttpError 400 `invalid_parameter`.
 */
export function answerLogs(event: FunctionEvent, signal: AbortSignal, journal: Journal, now: number): FunctionResponse {
  const { query } = event;
  refuseUnknown(query, ['format', 'level', 'since', 'follow']);
  const format = readFormat(event);
  const least = readLevel(query);
  const since = readTime(query, 'since', now) ?? Number.NEGATIVE_INFINITY;
  const isWanted = ({ level, at }: JournalLine) => rank[level] >= least && at >= since;
  const follows = readFollow(query, format);
  if (format === 'text') return text(200, journal.logs(isWanted));
  const lines = journal.lines(isWanted).map(toJson);
  if (format === 'json') return json(200, { lines }, { 'Cache-Control': 'no-store' });
  const stream = format === 'sse' ? streamEvents : streamLines;
  return stream(signal, (send, end) => {
    for (const line of lines) send(line);
    if (follows) return journal.follow((line) => isWanted(line) && send(toJson(line)));
    end();
    return () => undefined;
  });
}
