import { createHttpClient } from './http.ts';
import { service, statusAdvice, toAdvised } from './litellm-advice.ts';
import { type ActivityPage, parseActivity, parseSummary, type SpendDay } from './litellm-days.ts';
import {
  createDirectoryReader,
  type EndUserEntry,
  type KeyEntry,
  type Scope,
  type TeamEntry,
  type UserEntry,
} from './litellm-directory.ts';
import type { SpendRow } from './litellm-row.ts';
import { createRowReader, type RowWindow } from './litellm-rows.ts';

export type { ActivityDay, ActivityPage, Metrics, SpendDay } from './litellm-days.ts';
export type { EndUserEntry, KeyEntry, Scope, TeamEntry, UserEntry } from './litellm-directory.ts';
export type { SpendRow } from './litellm-row.ts';
export type { RowWindow } from './litellm-rows.ts';

export interface DayWindow {
  /** `YYYY-MM-DD` of the proxy's clock, which is UTC since 1.60; `end` is exclusive. */
  start: string;
  end: string;
  signal?: AbortSignal | undefined;
}

export interface LitellmClient {
  /**
   * The summary of `/spend/logs`, which every version has. Days without requests may be absent or 0. One filter at most:
   * old versions apply one alone, and take a key as its sha256.
   */
  spendByDay(window: DayWindow & { userId?: string; keyHash?: string }): Promise<SpendDay[]>;
  /** Every day of the daily tables in one answer; 404 before 1.81 or so. */
  aggregatedActivity(window: DayWindow): Promise<ActivityPage>;
  /** A page of the daily tables, newest day first; a day may go on on the next page. 404 before 1.65. */
  activityPage(window: DayWindow & { page: number; pageSize?: number }): Promise<ActivityPage>;
  /**
   * Rows that started in [from, to), oldest first, each once: by `/spend/logs/v2`, else `/ui`, else raw `/spend/logs`.
   * Needs LiteLLM 1.59 or later; a status 404 says that it is older. Rows are logged some seconds after their request
   * ends: let `to` lie in the past.
   */
  spendRows(window: RowWindow): AsyncIterable<SpendRow>;
  /** The same, in lists of as many as came together. */
  rowBatches(window: RowWindow): AsyncIterable<SpendRow[]>;
  /** Every row there is, newest first, in one answer: a risk for the memory of an old proxy; cut at 10,000 by a new one. */
  allRowBatches(options?: { signal?: AbortSignal | undefined }): AsyncIterable<SpendRow[]>;
  keys(signal?: AbortSignal): Promise<KeyEntry[]>;
  users(signal?: AbortSignal): Promise<UserEntry[]>;
  teams(signal?: AbortSignal): Promise<TeamEntry[]>;
  endUsers(signal?: AbortSignal): Promise<EndUserEntry[]>;
  ownScope(signal?: AbortSignal): Promise<Scope>;
  /** The version by `/health/readiness`, which asks for no key; undefined where it is not told. */
  version(signal?: AbortSignal): Promise<string | undefined>;
}

export interface LitellmClientOptions {
  /** The proxy's root, without a trailing slash. */
  baseUrl: string;
  /** The master key, or a key of a user with the role proxy_admin_viewer. Read for each call. */
  apiKey: () => string | undefined;
  timeoutMs: number;
  /** Attempts of each call, the first included; 3 by default. */
  attempts?: number;
  /** What a proxy before 1.60 stores is its host's time: this much ahead of UTC. Rows come in true UTC. */
  utcOffsetMinutes?: number;
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

const lastDayOf = (end: string) => new Date(Date.parse(`${end}T00:00:00Z`) - 86_400_000).toISOString().slice(0, 10);

/** Reads what the proxy logged as spent. Fails with UpstreamError whose advice says what to fix. */
export function createLitellmClient(options: LitellmClientOptions): LitellmClient {
  const { baseUrl, apiKey, timeoutMs, attempts, utcOffsetMinutes = 0, sleep } = options;
  const http = createHttpClient({
    service,
    baseUrl,
    timeoutMs,
    advice: statusAdvice,
    headers: () => ({ Authorization: `Bearer ${apiKey() ?? ''}` }),
    ...(attempts === undefined ? {} : { attempts }),
    ...(sleep === undefined ? {} : { sleep }),
  });

  async function read(path: string, query: Record<string, string | number>, signal?: AbortSignal) {
    try {
      return (await http.requestJson({ path, query, signal })).body;
    } catch (error) {
      throw toAdvised(error, timeoutMs);
    }
  }

  return {
    async spendByDay({ start, end, userId, keyHash, signal }) {
      const filter = {
        ...(keyHash === undefined ? {} : { api_key: keyHash }),
        ...(userId === undefined ? {} : { user_id: userId }),
      };
      const query = { start_date: start, end_date: end, summarize: 'true', ...filter };
      return parseSummary(await read('/spend/logs', query, signal), { start, end });
    },
    async aggregatedActivity({ start, end, signal }) {
      const query = { start_date: start, end_date: lastDayOf(end) };
      return parseActivity(await read('/user/daily/activity/aggregated', query, signal));
    },
    async activityPage({ start, end, page, pageSize = 1_000, signal }) {
      const query = { start_date: start, end_date: lastDayOf(end), page, page_size: pageSize };
      return parseActivity(await read('/user/daily/activity', query, signal));
    },
    ...createRowReader({ read, stream: http.stream, timeoutMs, utcOffsetMinutes }),
    ...createDirectoryReader(read),
    async version(signal) {
      const found = (await read('/health/readiness', {}, signal)) as { litellm_version?: unknown } | null;
      return typeof found?.litellm_version === 'string' ? found.litellm_version : undefined;
    },
  };
}
