import type { ServerResponse } from 'node:http';
import { sendJson } from '../server.ts';
import type { SpendLogRow } from './rows.ts';

/** What differs between LiteLLM's versions, as far as the spend routes show it. */
export interface Profile {
  version: string;
  /** Routes that this version answers with 404. */
  without: string[];
  /** Without it `summarize` is ignored: with both dates there is nothing but the summary. */
  knowsSummarize: boolean;
  /** `/spend/logs` applies every filter; before 1.83.10 only the first of api_key, request_id, user_id. */
  joinsFilters: boolean;
  /** `sk-` keys are hashed in the mode with dates, too. */
  hashesKeys: boolean;
  /** A request id that is not found is `[null]` and not `[]`. */
  answersNull: boolean;
  /** The most rows that `/spend/logs` gives without `summarize`; more are cut and the header says so. */
  rawRowCap: number;
  /** `total` of the pages stops here; the rows do not. */
  totalCap: number;
  maxPageSize: number;
  /** `sort_by` and `sort_order` came with 1.81.12. */
  sortsPages: boolean;
  /** Columns that the table does not have yet. */
  lacks: (keyof SpendLogRow)[];
}

const unlimited = Number.MAX_SAFE_INTEGER;

export const profiles: Record<string, Profile> = {
  '1.53': {
    version: '1.53.7',
    without: ['/spend/logs/v2', '/spend/logs/ui', '/user/daily/activity', '/user/daily/activity/aggregated'],
    knowsSummarize: false,
    joinsFilters: false,
    hashesKeys: false,
    answersNull: true,
    rawRowCap: unlimited,
    totalCap: unlimited,
    maxPageSize: 0,
    sortsPages: false,
    lacks: ['custom_llm_provider', 'organization_id', 'session_id', 'status', 'request_duration_ms', 'litellm_call_id'],
  },
  '1.79': {
    version: '1.79.0',
    without: ['/spend/logs/v2', '/user/daily/activity/aggregated'],
    knowsSummarize: true,
    joinsFilters: false,
    hashesKeys: false,
    answersNull: true,
    rawRowCap: unlimited,
    totalCap: unlimited,
    maxPageSize: 100,
    sortsPages: false,
    lacks: ['organization_id', 'request_duration_ms', 'litellm_call_id'],
  },
  '1.101': {
    version: '1.101.0',
    without: [],
    knowsSummarize: true,
    joinsFilters: true,
    hashesKeys: true,
    answersNull: false,
    rawRowCap: 10_000,
    totalCap: 10_000,
    maxPageSize: 1_000,
    sortsPages: true,
    lacks: [],
  },
};

/** The envelope of LiteLLM's own ProxyException; `code` is a string in new versions. */
export function sendProxyError(
  res: ServerResponse,
  status: number,
  error: { message: string; type: string; param?: string },
) {
  const { message, type, param = 'None' } = error;
  sendJson(res, status, { error: { message, type, param, code: String(status) } });
}

/** FastAPI's own refusal of a parameter. */
export interface Refusal {
  type: string;
  loc: [string, string];
  msg: string;
  input: string;
  ctx?: Record<string, number>;
}

export function sendRefusals(res: ServerResponse, detail: Refusal[]) {
  sendJson(res, 422, { detail });
}

/** A whole-number parameter as pydantic checks it: bounds inclusive, what is wrong goes to `refusals`. */
export function parseCount(
  query: URLSearchParams,
  name: string,
  options: { fallback: number; max?: number },
  refusals: Refusal[],
): number {
  const { fallback, max = Number.MAX_SAFE_INTEGER } = options;
  const input = query.get(name);
  if (input === null) return fallback;
  const loc: [string, string] = ['query', name];
  if (!/^\s*[+-]?\d+\s*$/.test(input)) {
    const msg = 'Input should be a valid integer, unable to parse string as an integer';
    refusals.push({ type: 'int_parsing', loc, msg, input });
  } else if (Number(input) < 1) {
    const msg = 'Input should be greater than or equal to 1';
    refusals.push({ type: 'greater_than_equal', loc, msg, input, ctx: { ge: 1 } });
  } else if (Number(input) > max) {
    const msg = `Input should be less than or equal to ${max}`;
    refusals.push({ type: 'less_than_equal', loc, msg, input, ctx: { le: max } });
  }
  return Number(input);
}

/** As prisma's models print a time: microseconds and Z. */
export const toModelTime = (iso: string | null) => iso?.replace('Z', '000Z') ?? null;

/** As raw SQL's datetimes print: Python's isoformat, which drops a fraction of zero. */
export const toSqlTime = (iso: string | null) =>
  iso?.replace(/\.(\d{3})Z$/, '.$1000+00:00').replace('.000000', '') ?? null;

/** A row as a version prints it: times in the route's way, without the columns that came later. */
export function toWireRow(row: SpendLogRow, profile: Profile, print: (iso: string | null) => string | null) {
  const wire: Record<string, unknown> = {
    ...row,
    startTime: print(row.startTime),
    endTime: print(row.endTime),
    completionStartTime: print(row.completionStartTime),
  };
  for (const column of profile.lacks) delete wire[column];
  return wire;
}
