import * as z from 'zod';
import { UpstreamError } from '../errors.ts';
import type { PicoUsd } from '../money.ts';
import { createHttpClient } from './http.ts';
import { type SpendRow, spendRow, usd } from './litellm-row.ts';

export type { SpendRow } from './litellm-row.ts';

/** What one UTC day cost. */
export interface SpendDay {
  /** YYYY-MM-DD */
  day: string;
  spend: PicoUsd;
}

export interface LitellmClient {
  /** Days of [start, end), both `YYYY-MM-DD` in UTC. Days without requests may be absent or 0. */
  spendByDay(window: { start: string; end: string; signal?: AbortSignal }): Promise<SpendDay[]>;
  /**
   * Rows that started in [from, to), oldest first, each once. Needs LiteLLM 1.59 or later. Rows are logged some seconds
   * after their request ends: let `to` lie in the past.
   */
  spendRows(window: { from: Date; to: Date; signal?: AbortSignal }): AsyncIterable<SpendRow>;
}

export interface LitellmClientOptions {
  /** The proxy's root, without a trailing slash. */
  baseUrl: string;
  /** The master key, or a key of a user with the role proxy_admin_viewer. Read for each call. */
  apiKey: () => string | undefined;
  timeoutMs: number;
  /** Attempts of each call, the first included; 3 by default. */
  attempts?: number;
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

const service = 'LiteLLM';
const keyAdvice = 'check LITELLM_API_KEY: it must be the master key or a proxy_admin_viewer key';
const addressAdvice = 'check that LITELLM_API_BASE_URL is the root of the LiteLLM proxy and that the proxy runs';
const statusAdvice: Record<number, string> = {
  400: 'check LITELLM_API_KEY: a key over its budget is refused too',
  401: keyAdvice,
  403: keyAdvice,
  404: addressAdvice,
  429: 'it limits how often this key may call: try again later',
  500: "look into LiteLLM's log: the spend routes need its database, and days as YYYY-MM-DD",
  502: addressAdvice,
  503: addressAdvice,
  504: 'the proxy in front of LiteLLM gave up waiting',
};

/** Says what to fix, where the status alone could not. */
function toAdvised(error: unknown, timeoutMs: number): unknown {
  if (!(error instanceof UpstreamError)) return error;
  const { failure, detail, status, retryAfterMs } = error;
  const advise = (advice: string) => new UpstreamError(service, failure, detail, { status, retryAfterMs, advice });
  // Without its database LiteLLM answers 401, and the key is not to blame.
  if (/Prisma Client is not initialized|No db connected/i.test(detail))
    return advise('connect LiteLLM to its database');
  if (error.advice !== undefined) return error;
  if (failure === 'timeout') return advise(`it had ${timeoutMs} ms: raise LITELLM_TIMEOUT_MS, or see why it is slow`);
  return failure === 'network' || failure === 'invalid_response' ? advise(addressAdvice) : error;
}

const daySummary = z.object({ startTime: z.string(), spend: usd.nullish() });
const summaries = z.array(z.unknown());
const page = z.object({ data: z.array(z.unknown()), total: z.number().nullish() });

const secondMs = 1_000;
const toSeconds = (ms: number) => new Date(ms).toISOString().slice(0, 19).replace('T', ' ');
const isStatus = (error: unknown, status: number) => error instanceof UpstreamError && error.status === status;

function toIncomplete(detail: string, advice: string) {
  return new UpstreamError(service, 'invalid_response', detail, { advice });
}

function parseAnswer<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw toIncomplete(`${what}: ${issue?.path.join('.')} ${issue?.message}`, addressAdvice);
}

/** Reads what the proxy logged as spent. Fails with UpstreamError whose advice says what to fix. */
export function createLitellmClient(options: LitellmClientOptions): LitellmClient {
  const { baseUrl, apiKey, timeoutMs, attempts, sleep } = options;
  const http = createHttpClient({
    service,
    baseUrl,
    timeoutMs,
    advice: statusAdvice,
    headers: () => ({ Authorization: `Bearer ${apiKey() ?? ''}` }),
    ...(attempts === undefined ? {} : { attempts }),
    ...(sleep === undefined ? {} : { sleep }),
  });

  async function read(path: string, query: Record<string, string | number>, signal: AbortSignal | undefined) {
    try {
      return (await http.requestJson({ path, query, signal })).body;
    } catch (error) {
      throw toAdvised(error, timeoutMs);
    }
  }

  // What the proxy has been found to know: v2 came with 1.80.8, pages of 1000 in July 2026.
  let route = '/spend/logs/v2';
  let pageSize = 1_000;

  async function readPage(window: { fromMs: number; toMs: number }, number: number, signal: AbortSignal | undefined) {
    const query = {
      start_date: toSeconds(window.fromMs),
      end_date: toSeconds(window.toMs),
      page: number,
      page_size: pageSize,
      sort_by: 'startTime',
      sort_order: 'asc',
    };
    return parseAnswer(page, await read(route, query, signal), 'a page of spend logs');
  }

  async function readKnownPage(window: { fromMs: number; toMs: number }, number: number, signal?: AbortSignal) {
    for (;;) {
      try {
        return await readPage(window, number, signal);
      } catch (error) {
        if (isStatus(error, 404) && route.endsWith('/v2')) route = '/spend/logs/ui';
        else if (isStatus(error, 404)) {
          const advice = 'rows by date need LiteLLM 1.59 or later; else check LITELLM_API_BASE_URL';
          throw new UpstreamError(service, 'status', (error as UpstreamError).detail, { status: 404, advice });
        } else if (isStatus(error, 422) && pageSize > 100) pageSize = 100;
        else throw error;
      }
    }
  }

  /**
   * Rows of whole seconds [fromMs, toMs]. LiteLLM pages by OFFSET in an order without a tie-breaker, so rows can slip
   * between pages: a window with more rows than a page is halved instead, down to one second, which is paged.
   */
  async function* readWindow(fromMs: number, toMs: number, signal?: AbortSignal): AsyncGenerator<SpendRow[]> {
    const window = { fromMs, toMs };
    const first = await readKnownPage(window, 1, signal);
    const isWhole = first.data.length < pageSize && (first.total ?? 0) <= first.data.length;
    if (!isWhole && toMs - fromMs > secondMs) {
      const middleMs = fromMs + Math.floor((toMs - fromMs) / 2 / secondMs) * secondMs;
      yield* readWindow(fromMs, middleMs, signal);
      yield* readWindow(middleMs, toMs, signal);
      return;
    }
    const found = [...first.data];
    let latest = first.data;
    for (let number = 2; latest.length === pageSize; number++) {
      latest = (await readKnownPage(window, number, signal)).data;
      found.push(...latest);
    }
    const rows = found.map((row) => parseAnswer(spendRow, row, 'a row of spend logs'));
    // Both ends are inclusive upstream, and the next window begins with this one's end.
    const inside = rows.filter(({ startTime }) => startTime.getTime() >= fromMs && startTime.getTime() < toMs);
    yield inside.sort((left, right) => left.startTime.getTime() - right.startTime.getTime());
  }

  return {
    async spendByDay({ start, end, signal }) {
      const body = await read('/spend/logs', { start_date: start, end_date: end, summarize: 'true' }, signal);
      const items = parseAnswer(summaries, body, '/spend/logs').filter((item) => item !== null);
      if (items.some((item) => typeof item === 'object' && item !== null && 'request_id' in item)) {
        const advice = 'it gave single requests where a summary by day was asked: update LiteLLM';
        throw toIncomplete('/spend/logs gave raw rows, which stop at 10,000 and are no total', advice);
      }
      return (
        items
          .map((item) => parseAnswer(daySummary, item, 'a day of /spend/logs'))
          .map(({ startTime, spend }) => ({ day: startTime.slice(0, 10), spend: spend ?? 0n }))
          // The end day is left out or whole by version, and holds midnight's rows: dropped, windows join without overlap.
          .filter(({ day }) => day >= start && day < end)
      );
    },

    async *spendRows({ from, to, signal }) {
      const fromMs = Math.floor(from.getTime() / secondMs) * secondMs;
      const toMs = Math.ceil(to.getTime() / secondMs) * secondMs;
      if (fromMs >= toMs) return;
      for await (const rows of readWindow(fromMs, toMs, signal)) {
        // Windows do not overlap, so a row can only repeat within one that had to be paged.
        const seen = new Set<string>();
        for (const row of rows) {
          if (seen.has(row.requestId) || row.startTime < from || row.startTime >= to) continue;
          seen.add(row.requestId);
          yield row;
        }
      }
    },
  };
}
