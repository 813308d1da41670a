import * as z from 'zod';
import { UpstreamError } from '../errors.ts';
import { retry } from '../retry.ts';
import type { HttpAnswer, HttpClient } from './http.ts';
import type { LagoEvent } from './lago.ts';
import type { LagoHttpOptions } from './lago-http.ts';

/** The most that Lago takes at once, unless its operator changed it. */
export const maxBatch = 100;
/** How many pages of Lago's list are read for one batch. */
const maxPages = 20;

const eventList = z.object({
  events: z.array(z.object({ transaction_id: z.string() })),
  meta: z.object({ next_page: z.number().nullable(), total_pages: z.number().optional() }),
});
const storedEvent = z.object({ event: z.object({ transaction_id: z.string() }) });

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What is not Lago's answer, though it looks like a success: a proxy's page, say. */
export const toForeign = ({ text, status }: HttpAnswer) =>
  new UpstreamError('Lago', 'invalid_response', `not Lago's answer: ${text.slice(0, 200)}`, { status });

/** What may pass by itself: a 500, and an answer that is somebody else's. For calls that may be made twice. */
const mayPass = (error: unknown) =>
  error instanceof UpstreamError &&
  (error.failure === 'invalid_response' || (error.failure === 'status' && error.status === 500));

/** Calls again what may pass, beside the HTTP client's own retries. */
export const insist = <T>(
  operation: () => Promise<T>,
  {
    tries,
    signal,
    sleep,
  }: { tries: number; signal: AbortSignal | undefined; sleep: LagoHttpOptions['sleep'] | undefined },
): Promise<T> =>
  retry(operation, { attempts: tries, signal, shouldRetry: mayPass, ...(sleep === undefined ? {} : { sleep }) });

/** What Lago has, read in the cheapest way that its version knows. */
export function createLagoLookup(http: HttpClient, { sleep }: Pick<LagoHttpOptions, 'sleep'>) {
  const isAnswer = (status: number) => status === 200 || status === 404 || status === 422;

  /** One answer of Lago's own; somebody else's is asked for again, and then a failure. */
  const ask = <T>(
    request: { path: string; query?: Record<string, string | number>; signal: AbortSignal | undefined },
    read: (answer: HttpAnswer) => T,
  ) =>
    insist(async () => read(await http.request({ ...request, accept: isAnswer })), {
      tries: 4,
      signal: request.signal,
      sleep,
    });

  /** Whether Lago has this id; throws where Lago cannot tell. */
  const hasEvent = (transactionId: string, signal: AbortSignal | undefined): Promise<boolean> =>
    ask({ path: `/events/${encodeURIComponent(transactionId)}`, signal }, (answer) => {
      if (storedEvent.safeParse(parseJson(answer.text)).data?.event.transaction_id === transactionId) return true;
      // Another 404 comes from something else than Lago's events.
      if (answer.status === 404 && answer.text.includes('event_not_found')) return false;
      throw toForeign(answer);
    });

  /** A page of Lago's list; undefined where its version has none. */
  const readPage = (query: Record<string, string | number>, signal: AbortSignal | undefined) =>
    ask({ path: '/events', query, signal }, (answer) => {
      if (answer.status !== 200) return undefined;
      const list = eventList.safeParse(parseJson(answer.text));
      if (list.success) return list.data;
      throw toForeign(answer);
    });

  /** The ids of Lago's list between the first and the last of these; undefined where it has no such list, or a long one. */
  async function listStored(events: LagoEvent[], signal: AbortSignal | undefined): Promise<Set<string> | undefined> {
    const seconds = events.map(({ timestamp }) => Number(timestamp));
    const query = {
      // Both ends by a second more: a bound that cuts fractions must not hide the first and the last.
      timestamp_from: new Date((Math.min(...seconds) - 1) * 1000).toISOString(),
      timestamp_to: new Date((Math.max(...seconds) + 1) * 1000).toISOString(),
      per_page: 100,
    };
    const wanted = new Set(events.map(({ transaction_id: id }) => id));
    const found = new Set<string>();
    for (let page = 1; page <= maxPages; page++) {
      const list = await readPage({ ...query, page }, signal);
      // Looking for each by its id is then cheaper.
      if (list === undefined || (list.meta.total_pages ?? 0) > maxPages) return undefined;
      for (const { transaction_id: id } of list.events) if (wanted.has(id)) found.add(id);
      if (list.meta.next_page === null || found.size === wanted.size) return found;
    }
    return undefined;
  }

  return {
    hasEvent,
    listStored,

    async findStored(events: LagoEvent[], signal?: AbortSignal): Promise<Set<string>> {
      const found = new Set<string>();
      for (let start = 0; start < events.length; start += maxBatch) {
        const part = events.slice(start, start + maxBatch);
        const listed = await listStored(part, signal);
        for (const { transaction_id: id } of part) {
          if (listed === undefined ? await hasEvent(id, signal) : listed.has(id)) found.add(id);
        }
      }
      return found;
    },

    async isEmptySince(from: Date, signal?: AbortSignal): Promise<boolean> {
      const list = await readPage({ timestamp_from: from.toISOString(), per_page: 1 }, signal);
      // 1.12 has no list.
      return list !== undefined && list.events.length === 0;
    },
  };
}
