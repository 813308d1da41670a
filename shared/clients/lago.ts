import * as z from 'zod';
import { UpstreamError } from '../errors.ts';
import { retry } from '../retry.ts';
import type { HttpAnswer } from './http.ts';
import { createLagoHttp, type LagoHttpOptions, readLagoVersion } from './lago-http.ts';

/** An event in Lago's own words. `timestamp` is unix seconds with decimals; numeric properties are plain decimal strings. */
export interface LagoEvent {
  transaction_id: string;
  external_subscription_id: string;
  code: string;
  timestamp: string;
  /** What a `dynamic` charge bills, in the currency's smallest unit: a plain decimal. */
  precise_total_amount_cents?: string;
  properties: Record<string, string>;
}

export interface BatchResult {
  /** Transaction ids that Lago stored now. */
  delivered: string[];
  /** Those it had already: delivered as well, by an earlier try. */
  alreadyThere: string[];
  /** Those it will never take, and why. */
  rejected: { transactionId: string; reason: string }[];
  /** Stored beside a duplicate by 1.32.4 to 1.38, which then never process them: in `alreadyThere` too. */
  unprocessed: string[];
}

export interface LagoClient {
  /**
   * Stores any number of events and resolves when each one has its fate. Sending the same events again is safe on every
   * version of Lago. Throws UpstreamError when Lago cannot be used now (401, 403, 5xx, time-out): some events may then
   * be stored, and the same call later gives each of them once.
   */
  sendBatch(events: LagoEvent[], signal?: AbortSignal): Promise<BatchResult>;
  /** False when Lago has any event from then on (inclusive), and when its version cannot tell. */
  isEmptySince(from: Date, signal?: AbortSignal): Promise<boolean>;
  /** Which of these Lago has, by their transaction ids. Reads, and stores nothing. */
  findStored(events: LagoEvent[], signal?: AbortSignal): Promise<Set<string>>;
  /**
   * True where a batch with one known event stores the others without processing them (1.32.4 to 1.38), and where the
   * version cannot be told: a batch must then hold nothing that Lago may have.
   */
  mustSendOnlyNew(signal?: AbortSignal): Promise<boolean>;
}

/** The most that Lago takes at once, unless its operator changed it. */
export const maxBatch = 100;
/** How many pages of Lago's list are read for one batch. */
const maxPages = 20;

type Problem = Record<string, unknown> | string;

/** The `error_details` of a 422; undefined when it is not Lago's (a proxy's page, say). */
function readDetails({ text }: HttpAnswer): Record<string, Problem> | string | undefined {
  try {
    const { error_details: details } = JSON.parse(text) as { error_details?: Record<string, Problem> | string };
    return typeof details === 'object' && details !== null
      ? details
      : typeof details === 'string'
        ? details
        : undefined;
  } catch {
    return undefined;
  }
}

function isAlreadyThere(problem: Problem | undefined): boolean {
  const reasons = typeof problem === 'object' ? problem.transaction_id : undefined;
  return Array.isArray(reasons) && reasons.includes('value_already_exist');
}

const toReason = (problem: Problem) => (typeof problem === 'string' ? problem : JSON.stringify(problem)).slice(0, 300);

/** The events of one refused batch by what its 422 says of each; undefined when it says nothing of any. */
function sortRefused(events: LagoEvent[], details: ReturnType<typeof readDetails>, result: BatchResult) {
  if (typeof details !== 'object' || !events.some((_, index) => details[index] !== undefined)) return undefined;
  return events.filter(({ transaction_id: transactionId }, index) => {
    const problem = details[index];
    if (problem === undefined) return true;
    if (isAlreadyThere(problem)) result.alreadyThere.push(transactionId);
    else result.rejected.push({ transactionId, reason: toReason(problem) });
    return false;
  });
}

export function createLagoClient(options: LagoHttpOptions): LagoClient {
  const { sleep } = options;
  const http = createLagoHttp(options);
  const isAnswer = (status: number) => (status >= 200 && status < 300) || status === 422;

  // A repeated event is recognised by its transaction id, so even a POST is safe to try again.
  const post = (path: string, json: unknown, signal: AbortSignal | undefined) =>
    http.request({ method: 'POST', path, json, signal, idempotent: true, accept: isAnswer });

  // A 500 may pass; only one that stays is taken for a refusal.
  const insist = (path: string, json: unknown, signal: AbortSignal | undefined, tries: number) =>
    retry(() => post(path, json, signal), {
      attempts: tries,
      signal,
      shouldRetry: (error) => isRefusal(error) && (error as UpstreamError).status === 500,
      ...(sleep === undefined ? {} : { sleep }),
    });

  /** Whether Lago has this id; throws where Lago cannot tell. */
  async function hasEvent(transactionId: string, signal: AbortSignal | undefined): Promise<boolean> {
    const path = `/events/${encodeURIComponent(transactionId)}`;
    const answer = await http.request({ path, signal, accept: (status) => status === 200 || status === 404 });
    if (answer.status === 200) return true;
    // Another 404 comes from something else than Lago's events.
    if (answer.text.includes('event_not_found')) return false;
    throw new UpstreamError('Lago', 'invalid_response', 'no answer about an event', { status: 404 });
  }

  async function sendOne(event: LagoEvent, signal: AbortSignal | undefined, result: BatchResult) {
    const { transaction_id: transactionId } = event;
    let answer: HttpAnswer;
    try {
      answer = await insist('/events', { event }, signal, 4);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      // Where Lago answers about an event, it works and its database too: it is this event that it cannot take.
      if (await hasEvent(transactionId, signal)) result.alreadyThere.push(transactionId);
      else result.rejected.push({ transactionId, reason: `answered ${(error as UpstreamError).status} for good` });
      return;
    }
    const details = readDetails(answer);
    if (answer.status !== 422) {
      requireStored(answer, 1, 'event');
      result.delivered.push(transactionId);
    } else if (typeof details === 'object' && isAlreadyThere(details)) {
      result.alreadyThere.push(transactionId);
    } else {
      result.rejected.push({ transactionId, reason: toReason(details ?? answer.text) });
    }
  }

  async function sendHalves(events: LagoEvent[], signal: AbortSignal | undefined, result: BatchResult) {
    const [only] = events;
    if (events.length === 1 && only !== undefined) return sendOne(only, signal, result);
    const half = Math.ceil(events.length / 2);
    await send(events.slice(0, half), signal, result);
    await send(events.slice(half), signal, result);
  }

  async function send(events: LagoEvent[], signal: AbortSignal | undefined, result: BatchResult): Promise<void> {
    if (events.length === 0) return;
    let answer: HttpAnswer;
    try {
      answer = await insist('/events/batch', { events }, signal, 2);
    } catch (error) {
      // One event of the batch may be what it cannot take: halves single it out.
      if (!isRefusal(error)) throw error;
      return sendHalves(events, signal, result);
    }
    if (answer.status !== 422) {
      requireStored(answer, events.length, 'events');
      for (const { transaction_id: id } of events) result.delivered.push(id);
      return;
    }
    const rest = sortRefused(events, readDetails(answer), result);
    if (rest === undefined) return sendHalves(events, signal, result);
    const known = result.alreadyThere.length;
    await send(rest, signal, result);
    // What was new a moment ago and is known now was stored by the refused batch, and is not processed.
    const isSpoilt = result.alreadyThere.length > known && rest.length < events.length;
    if (isSpoilt && (await mustSendOnlyNew(signal))) result.unprocessed.push(...result.alreadyThere.slice(known));
  }

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
      const accept = (status: number) => status === 200 || status === 404 || status === 422;
      const answer = await http.request({ path: '/events', query: { ...query, page }, signal, accept });
      if (answer.status !== 200) return undefined;
      const list = eventList.safeParse(parseJson(answer.text));
      // Looking for each by its id is then cheaper.
      if (!list.success || (list.data.meta.total_pages ?? 0) > maxPages) return undefined;
      for (const { transaction_id: id } of list.data.events) if (wanted.has(id)) found.add(id);
      if (list.data.meta.next_page === null || found.size === wanted.size) return found;
    }
    return undefined;
  }

  let version: string | undefined;

  async function mustSendOnlyNew(signal: AbortSignal | undefined): Promise<boolean> {
    version ??= await readLagoVersion(options, signal);
    if (version === undefined) return true;
    const [major, minor, patch] = version.split('.').map(Number) as [number, number, number];
    return major === 1 && ((minor === 32 && patch >= 4) || (minor > 32 && minor < 39));
  }

  return {
    async sendBatch(events, signal) {
      const result: BatchResult = { delivered: [], alreadyThere: [], rejected: [], unprocessed: [] };
      const unique = [...new Map(events.map((event) => [event.transaction_id, event])).values()];
      for (let start = 0; start < unique.length; start += maxBatch) {
        await send(unique.slice(start, start + maxBatch), signal, result);
      }
      return result;
    },

    async findStored(events, signal) {
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

    async isEmptySince(from, signal) {
      const query = { timestamp_from: from.toISOString(), per_page: 1 };
      const accept = (status: number) => status === 200 || status === 404 || status === 422;
      const answer = await http.request({ path: '/events', query, signal, accept });
      // 1.12 has no list.
      if (answer.status !== 200) return false;
      const list = eventList.safeParse(parseJson(answer.text));
      if (list.success) return list.data.events.length === 0;
      throw new UpstreamError('Lago', 'invalid_response', `no list of events: ${answer.text.slice(0, 200)}`);
    },

    mustSendOnlyNew: (signal) => mustSendOnlyNew(signal),
  };
}

const eventList = z.object({
  events: z.array(z.object({ transaction_id: z.string() })),
  meta: z.object({ next_page: z.number().nullable(), total_pages: z.number().optional() }),
});

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A status that one event of a batch can be the reason of, now and on every later try. */
const isRefusal = (error: unknown) =>
  error instanceof UpstreamError && error.failure === 'status' && [400, 413, 500].includes(error.status ?? 0);

/** A 200 that is not Lago's (a login page, a half answer) stored nothing that we could count on. */
function requireStored({ text, status }: HttpAnswer, count: number, key: 'event' | 'events') {
  let stored: unknown;
  try {
    stored = (JSON.parse(text) as Record<string, unknown>)[key];
  } catch {
    stored = undefined;
  }
  if ((Array.isArray(stored) ? stored.length : stored ? 1 : 0) === count) return;
  throw new UpstreamError('Lago', 'invalid_response', `stored not what was sent: ${text.slice(0, 200)}`, { status });
}
