import type { ServerResponse } from 'node:http';
import { sendJson } from '../server.ts';
import type { SpendLogRow } from './rows.ts';

/** What differs between LiteLLM's versions, as far as the spend routes show it. */
export interface Profile {
  version: string;
  /** The most rows that `/spend/logs` gives without `summarize`. */
  rawRowCap: number;
  /** `total` of `/spend/logs/v2` stops here; the rows do not. */
  totalCap: number;
  maxPageSize: number;
}

export const profiles: Record<string, Profile> = {
  '1.101': { version: '1.101.0', rawRowCap: 10_000, totalCap: 10_000, maxPageSize: 1_000 },
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

export function withTimes(row: SpendLogRow, print: (iso: string | null) => string | null) {
  return {
    ...row,
    startTime: print(row.startTime),
    endTime: print(row.endTime),
    completionStartTime: print(row.completionStartTime),
  };
}
