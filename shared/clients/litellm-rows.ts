import { UpstreamError } from '../errors.ts';
import type { HttpRequest, HttpStream } from './http.ts';
import { JsonRowsError, parseJsonRows } from './json-rows.ts';
import { isMissingRoute, isWorthHalving, service, toAdvised, toInvalid, toMissingRoute } from './litellm-advice.ts';
import { isRawRow, parseSpendRow, RowError, type SpendRow } from './litellm-row.ts';

export interface RowReaderOptions {
  read: (path: string, query: Record<string, string | number>, signal?: AbortSignal) => Promise<unknown>;
  stream: (request: HttpRequest) => Promise<HttpStream>;
  timeoutMs: number;
  utcOffsetMinutes: number;
}

export interface RowWindow {
  from: Date;
  to: Date;
  signal?: AbortSignal | undefined;
  /** `any` does without sorting, and thereby without collecting a day of rows where LiteLLM has no pages. */
  order?: 'oldest-first' | 'any';
}

const secondMs = 1_000;
const dayMs = 86_400_000;
const toSeconds = (ms: number) => new Date(ms).toISOString().slice(0, 19).replace('T', ' ');
const toDay = (ms: number) => new Date(ms).toISOString().slice(0, 10);
const floorTo = (ms: number, unit: number) => Math.floor(ms / unit) * unit;
const ceilTo = (ms: number, unit: number) => Math.ceil(ms / unit) * unit;

/** Sweeps of one crowded second until all of its rows were seen. */
const maxSweeps = 6;
/** A window that fails is halved this often in a row at most: a proxy that fails at everything should fail soon. */
const maxHalvings = 5;

export function toRow(value: unknown, utcOffsetMinutes: number): SpendRow {
  try {
    return parseSpendRow(value, utcOffsetMinutes);
  } catch (error) {
    if (error instanceof RowError) throw toInvalid(`a row of spend logs: ${error.message}`);
    throw error;
  }
}

const byStart = (left: SpendRow, right: SpendRow) => left.startTime.getTime() - right.startTime.getTime();

interface Page {
  rows: unknown[];
  /** Of the whole window; undefined where LiteLLM stopped counting. */
  total: number | undefined;
}

function parsePage(body: unknown): Page {
  const { data, total, total_is_capped: isCapped } = (body ?? {}) as Record<string, unknown>;
  if (!Array.isArray(data)) throw toInvalid('a page of spend logs: data is no list');
  return { rows: data, total: typeof total === 'number' && isCapped !== true ? total : undefined };
}

/** Reads rows by windows, by whichever route the proxy has: `/spend/logs/v2`, `/ui`, else raw `/spend/logs` by days. */
export function createRowReader({ read, stream, timeoutMs, utcOffsetMinutes }: RowReaderOptions) {
  const offsetMs = utcOffsetMinutes * 60_000;
  // What the proxy has been found to know: v2 came with 1.80.8, ui with 1.59, pages of 1000 in July 2026.
  let route: '/spend/logs/v2' | '/spend/logs/ui' | '/spend/logs' = '/spend/logs/v2';
  let pageSize = 1_000;

  /** Null when only raw `/spend/logs` is left. */
  async function readPage(fromMs: number, toMs: number, page: number, signal?: AbortSignal): Promise<Page | null> {
    while (route !== '/spend/logs') {
      const dates = { start_date: toSeconds(fromMs + offsetMs), end_date: toSeconds(toMs + offsetMs) };
      const query = { ...dates, page, page_size: pageSize, sort_by: 'startTime', sort_order: 'asc' };
      try {
        return parsePage(await read(route, query, signal));
      } catch (error) {
        if (isMissingRoute(error)) route = route === '/spend/logs/v2' ? '/spend/logs/ui' : '/spend/logs';
        else if (error instanceof UpstreamError && error.status === 422 && pageSize > 100) pageSize = 100;
        else throw error;
      }
    }
    return null;
  }

  /** Pages of one second. LiteLLM orders equal times as it likes, anew for each page: some rows may come twice, and some not. */
  async function readCrowded(fromMs: number, toMs: number, signal?: AbortSignal): Promise<unknown[]> {
    const found = new Map<unknown, unknown>();
    for (let sweep = 1; sweep <= maxSweeps; sweep++) {
      const before = found.size;
      let total: number | undefined;
      for (let number = 1, isLast = false; !isLast; number++) {
        const page = await readPage(fromMs, toMs, number, signal);
        for (const row of page?.rows ?? []) found.set((row as { request_id?: unknown } | null)?.request_id, row);
        total = page?.total;
        isLast = page === null || page.rows.length < pageSize;
      }
      if (total === undefined ? found.size === before : found.size >= total) return [...found.values()];
    }
    throw toInvalid(
      `rows of the second ${toSeconds(fromMs)} kept slipping between pages`,
      'too many requests began in one second for its pages to be read reliably: use daily groups, which need no rows',
    );
  }

  /**
   * Rows of whole seconds [fromMs, toMs]. A window with more rows than a page is divided instead of paged, down to one
   * second; one that fails is halved.
   */
  async function* readPages(
    fromMs: number,
    toMs: number,
    halvings: number,
    signal?: AbortSignal,
  ): AsyncGenerator<SpendRow[]> {
    let parts = 2;
    try {
      const first = await readPage(fromMs, toMs, 1, signal);
      if (first === null) return yield* readRaw(fromMs, toMs, true, signal);
      const isWhole = first.rows.length < pageSize && (first.total ?? 0) <= first.rows.length;
      if (isWhole || toMs - fromMs <= secondMs) {
        const rows = isWhole ? first.rows : await readCrowded(fromMs, toMs, signal);
        // Both ends are inclusive upstream, and the next window begins with this one's end.
        return yield keepInside(rows, fromMs, toMs).sort(byStart);
      }
      // Somewhat more than needed, as traffic has peaks.
      parts = Math.min(64, Math.max(2, Math.ceil((first.total ?? 10_000) / (pageSize * 0.6))));
      halvings = 0;
    } catch (error) {
      if (!isWorthHalving(error) || halvings >= maxHalvings || toMs - fromMs <= secondMs) throw error;
      halvings += 1;
    }
    const step = Math.max(secondMs, ceilTo((toMs - fromMs) / parts, secondMs));
    for (let start = fromMs; start < toMs; start += step) {
      yield* readPages(start, Math.min(start + step, toMs), halvings, signal);
    }
  }

  function keepInside(rows: unknown[], fromMs: number, toMs: number): SpendRow[] {
    return rows
      .map((row) => toRow(row, utcOffsetMinutes))
      .filter(({ startTime }) => startTime.getTime() >= fromMs && startTime.getTime() < toMs);
  }

  /** Rows of an answer as they come. Throws where the route gives something else than every row. */
  async function* streamRaw(query: Record<string, string>, signal?: AbortSignal): AsyncGenerator<SpendRow[]> {
    let count = 0;
    try {
      const { headers, body } = await stream({ path: '/spend/logs', query, signal });
      for await (const values of parseJsonRows(body)) {
        const raw = values.filter((value) => value !== null);
        const other = raw.find((value) => !isRawRow(value));
        if (other !== undefined) {
          // A summary where rows were asked: `summarize` is not known here yet.
          const advice = 'rows by date need LiteLLM 1.59 or later; else check LITELLM_API_BASE_URL';
          throw toMissingRoute(advice);
        }
        count += raw.length;
        yield raw.map((value) => toRow(value, utcOffsetMinutes));
      }
      if (headers['x-litellm-spend-logs-truncated'] === 'true' || count === 10_000) {
        throw toInvalid(
          'raw /spend/logs stopped at 10,000 rows',
          'it gives 10,000 rows at most by this route: let the key use /spend/logs/v2',
        );
      }
    } catch (error) {
      if (error instanceof JsonRowsError) {
        throw error.isCut
          ? new UpstreamError(service, 'network', error.message, { status: 200 })
          : toAdvised(toInvalid(error.message), timeoutMs);
      }
      throw toAdvised(error, timeoutMs);
    }
  }

  /** By UTC days of the proxy's clock, as this route takes nothing smaller. */
  async function* readRaw(
    fromMs: number,
    toMs: number,
    sorted: boolean,
    signal?: AbortSignal,
  ): AsyncGenerator<SpendRow[]> {
    const end = toMs + offsetMs;
    for (let dayStart = floorTo(fromMs + offsetMs, dayMs); dayStart < end; dayStart += dayMs) {
      const query = { start_date: toDay(dayStart), end_date: toDay(dayStart + dayMs), summarize: 'false' };
      const [first, last] = [Math.max(fromMs, dayStart - offsetMs), Math.min(toMs, dayStart + dayMs - offsetMs)];
      const collected: SpendRow[] = [];
      for await (const rows of streamRaw(query, signal)) {
        // The next midnight is let in upstream, and is the next day's.
        const inside = rows.filter(({ startTime }) => startTime.getTime() >= first && startTime.getTime() < last);
        if (!sorted) yield inside;
        else for (const row of inside) collected.push(row);
      }
      if (sorted) yield collected.sort(byStart);
    }
  }

  async function* readBatches({ from, to, signal, order = 'oldest-first' }: RowWindow): AsyncGenerator<SpendRow[]> {
    const [fromMs, toMs] = [floorTo(from.getTime(), secondMs), ceilTo(to.getTime(), secondMs)];
    if (fromMs >= toMs) return;
    const isRaw = order === 'any' && route === '/spend/logs';
    for await (const rows of isRaw ? readRaw(fromMs, toMs, false, signal) : readPages(fromMs, toMs, 0, signal)) {
      yield rows.filter(({ startTime }) => startTime >= from && startTime < to);
    }
  }

  return {
    rowBatches: readBatches,
    allRowBatches: ({ signal }: { signal?: AbortSignal | undefined } = {}) => streamRaw({}, signal),
    async *spendRows(window: RowWindow): AsyncGenerator<SpendRow> {
      for await (const rows of readBatches(window)) yield* rows;
    },
  };
}
