import { UpstreamError } from '../errors.ts';
import type { HttpAnswer } from './http.ts';
import { createLagoHttp, type LagoHttpOptions } from './lago-http.ts';

/** An event in Lago's own words. `timestamp` is unix seconds with decimals; numeric properties are plain decimal strings. */
export interface LagoEvent {
  transaction_id: string;
  external_subscription_id: string;
  code: string;
  timestamp: string;
  properties: Record<string, string>;
}

export interface BatchResult {
  /** Transaction ids that Lago stored now. */
  delivered: string[];
  /** Those it had already: delivered as well, by an earlier try. */
  alreadyThere: string[];
  /** Those it will never take, and why. */
  rejected: { transactionId: string; reason: string }[];
}

export interface LagoClient {
  /**
   * Stores any number of events and resolves when each one has its fate. Sending the same events again is safe on every
   * version of Lago. Throws UpstreamError when Lago cannot be used now (401, 403, 5xx, time-out): some events may then
   * be stored, and the same call later gives each of them once.
   */
  sendBatch(events: LagoEvent[], signal?: AbortSignal): Promise<BatchResult>;
}

/** The most that Lago takes at once, unless its operator changed it. */
export const maxBatch = 100;

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
  const isAnswer = (status: number) => (status >= 200 && status < 300) || status === 422;

  // A repeated event is recognised by its transaction id, so even a POST is safe to try again.
  const post = (path: string, json: unknown, signal: AbortSignal | undefined) =>
    http.request({ method: 'POST', path, json, signal, idempotent: true, accept: isAnswer });

  async function sendOne(event: LagoEvent, signal: AbortSignal | undefined, result: BatchResult) {
    const answer = await post('/events', { event }, signal);
    const details = readDetails(answer);
    if (answer.status !== 422) {
      requireStored(answer, 1, 'event');
      result.delivered.push(event.transaction_id);
    } else if (typeof details === 'object' && isAlreadyThere(details)) {
      result.alreadyThere.push(event.transaction_id);
    } else {
      result.rejected.push({ transactionId: event.transaction_id, reason: toReason(details ?? answer.text) });
    }
  }

  async function send(events: LagoEvent[], signal: AbortSignal | undefined, result: BatchResult): Promise<void> {
    if (events.length === 0) return;
    let answer: HttpAnswer;
    try {
      answer = await post('/events/batch', { events }, signal);
    } catch (error) {
      // Versions up to 1.32 answer 500 for good where one event of the batch is bad: alone it tells what is wrong.
      if (!(error instanceof UpstreamError && error.status === 500)) throw error;
      for (const event of events) await sendOne(event, signal, result);
      return;
    }
    if (answer.status !== 422) {
      requireStored(answer, events.length, 'events');
      result.delivered.push(...events.map((event) => event.transaction_id));
      return;
    }
    const rest = sortRefused(events, readDetails(answer), result);
    if (rest !== undefined) return send(rest, signal, result);
    const [only] = events;
    if (events.length === 1 && only !== undefined) return sendOne(only, signal, result);
    // Refused as a whole, too many at once for one: halves are told apart sooner or later.
    const half = Math.ceil(events.length / 2);
    await send(events.slice(0, half), signal, result);
    await send(events.slice(half), signal, result);
  }

  return {
    async sendBatch(events, signal) {
      const result: BatchResult = { delivered: [], alreadyThere: [], rejected: [] };
      const unique = [...new Map(events.map((event) => [event.transaction_id, event])).values()];
      for (let start = 0; start < unique.length; start += maxBatch) {
        await send(unique.slice(start, start + maxBatch), signal, result);
      }
      return result;
    },
  };
}

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
