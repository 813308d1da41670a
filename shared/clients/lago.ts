import { UpstreamError } from '../errors.ts';
import type { HttpAnswer } from './http.ts';
import { createLagoHttp, type LagoHttpOptions, readLagoVersion } from './lago-http.ts';
import { createLagoLookup, insist, maxBatch, toForeign } from './lago-lookup.ts';

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
  /**
   * The same for events of which Lago may have some: no batch holds one that it has, since 1.32.4 to 1.38 would store
   * the others without processing them.
   */
  sendDoubtful(events: LagoEvent[], signal?: AbortSignal): Promise<BatchResult>;
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
  const http = createLagoHttp(options);
  const lookup = createLagoLookup(http, options);
  const isAnswer = (status: number) => (status >= 200 && status < 300) || status === 422;

  /**
   * Undefined: all of them are stored; else the 422 that says what is not. A repeated event is recognised by its
   * transaction id, so even a POST is safe to try again, and only a 500 that stays is taken for a refusal.
   */
  const post = (events: LagoEvent[], signal: AbortSignal | undefined, isSingle: boolean) =>
    insist(
      async () => {
        const [path, json] = isSingle ? ['/events', { event: events[0] }] : ['/events/batch', { events }];
        const answer = await http.request({ method: 'POST', path, json, signal, idempotent: true, accept: isAnswer });
        if (answer.status === 422) return answer;
        requireStored(answer, events.length, isSingle ? 'event' : 'events');
        return undefined;
      },
      { tries: isSingle ? 4 : 3, signal, sleep: options.sleep },
    );

  async function sendOne(event: LagoEvent, signal: AbortSignal | undefined, result: BatchResult) {
    const { transaction_id: transactionId } = event;
    let refused: HttpAnswer | undefined;
    try {
      refused = await post([event], signal, true);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      // Where Lago answers about an event, it works and its database too: it is this event that it cannot take.
      if (await lookup.hasEvent(transactionId, signal)) result.alreadyThere.push(transactionId);
      else result.rejected.push({ transactionId, reason: `answered ${(error as UpstreamError).status} for good` });
      return;
    }
    const details = refused && readDetails(refused);
    if (refused === undefined) result.delivered.push(transactionId);
    else if (typeof details === 'object' && isAlreadyThere(details)) result.alreadyThere.push(transactionId);
    else result.rejected.push({ transactionId, reason: toReason(details ?? refused.text) });
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
    let refused: HttpAnswer | undefined;
    try {
      refused = await post(events, signal, false);
    } catch (error) {
      // One event of the batch may be what it cannot take: halves single it out.
      if (!isRefusal(error)) throw error;
      return sendHalves(events, signal, result);
    }
    if (refused === undefined) {
      for (const { transaction_id: id } of events) result.delivered.push(id);
      return;
    }
    const rest = sortRefused(events, readDetails(refused), result);
    if (rest === undefined) return sendHalves(events, signal, result);
    const known = result.alreadyThere.length;
    await send(rest, signal, result);
    // What was new a moment ago and is known now was stored by the refused batch, and is not processed.
    const isSpoilt = result.alreadyThere.length > known && rest.length < events.length;
    if (isSpoilt && (await mustSendOnlyNew(signal))) result.unprocessed.push(...result.alreadyThere.slice(known));
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

    async sendDoubtful(events, signal) {
      const result: BatchResult = { delivered: [], alreadyThere: [], rejected: [], unprocessed: [] };
      const unique = [...new Map(events.map((event) => [event.transaction_id, event])).values()];
      for (let start = 0; start < unique.length; start += maxBatch) {
        const part = unique.slice(start, start + maxBatch);
        const listed = await lookup.listStored(part, signal);
        if (listed === undefined) {
          // A single known event is refused, and spoils nothing.
          for (const event of part) await sendOne(event, signal, result);
          continue;
        }
        result.alreadyThere.push(...listed);
        const fresh = part.filter(({ transaction_id: id }) => !listed.has(id));
        await send(fresh, signal, result);
      }
      return result;
    },

    findStored: lookup.findStored,
    isEmptySince: lookup.isEmptySince,

    mustSendOnlyNew: (signal) => mustSendOnlyNew(signal),
  };
}

/** A status that one event of a batch can be the reason of, now and on every later try. */
const isRefusal = (error: unknown) =>
  error instanceof UpstreamError && error.failure === 'status' && [400, 413, 500].includes(error.status ?? 0);

/** A 200 that is not Lago's (a login page, a half answer) stored nothing that we could count on. */
function requireStored(answer: HttpAnswer, count: number, key: 'event' | 'events') {
  let stored: unknown;
  try {
    stored = (JSON.parse(answer.text) as Record<string, unknown>)[key];
  } catch {
    stored = undefined;
  }
  if ((Array.isArray(stored) ? stored.length : stored ? 1 : 0) !== count) throw toForeign(answer);
}
