import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import { costOf } from './cost.ts';
import { parsePayload, seal } from './envelope.ts';
import type { Router, Ticket } from './router.ts';
import type { VastTarget } from './target.ts';

export interface JourneyParts {
  router: Router;
  target: VastTarget;
  /** Kept connections to a worker. */
  poolOf: (origin: string) => Pick<Dispatcher, 'dispatch'>;
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  random: () => number;
  clock: () => number;
}

export interface JourneyCall {
  method: string;
  path: string;
  /** Name, value, name, value. */
  headers: readonly string[];
  body: Buffer | Promise<Buffer> | undefined;
}

/** Workers that are asked for one call, the first included. */
const maxWorkers = 4;
const maxPauseMs = 5_000;
const maxWaitMs = 86_400_000;
/** What is read of a refusal, so that the connection can be used again. */
const mostRead = { bytes: 64 * 1024, ms: 1_000 };

/** The worker is full or its backend is not well: another may do. */
const isBusy = (status: number) =>
  status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 505);

function toFields(headers: readonly string[]): IncomingHttpHeaders {
  const fields: IncomingHttpHeaders = {};
  for (let index = 0; index < headers.length; index += 2) fields[headers[index]!.toLowerCase()] = headers[index + 1]!;
  return fields;
}

/** RFC 7240: `Prefer: wait=300`. */
function waitOf({ prefer = '' }: IncomingHttpHeaders, fallbackMs: number): number {
  const [, seconds] = /(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])/.exec(String(prefer)) ?? [];
  return seconds === undefined ? fallbackMs : Math.min(Number(seconds) * 1_000, maxWaitMs);
}

const notRead = () => new Error('the refusal of a worker is not read to its end');

/** Why a worker gave nothing. */
interface Miss {
  /** It refused, and its number is worth a pause. */
  isBusy: boolean;
}

/**
 * One call on its way: from the autoscaler to a worker, to another one with the same number when that one is lost or busy,
 * until the first byte of an answer. To what it serves it looks like one request.
 */
export class Journey implements Dispatcher.DispatchController {
  readonly #parts: JourneyParts;
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #stop = new AbortController();
  #inner: Dispatcher.DispatchController | undefined;
  paused = false;

  constructor(parts: JourneyParts, handler: Dispatcher.DispatchHandler) {
    this.#parts = parts;
    this.#handler = handler;
  }

  get aborted() {
    return this.#stop.signal.aborted;
  }

  get reason(): Error | null {
    return (this.#stop.signal.reason as Error | undefined) ?? null;
  }

  get rawHeaders() {
    return this.#inner?.rawHeaders ?? null;
  }

  get rawTrailers() {
    return this.#inner?.rawTrailers ?? null;
  }

  abort(reason: Error): void {
    if (this.aborted) return;
    this.#stop.abort(reason);
    this.#inner?.abort(reason);
  }

  pause(): void {
    this.paused = true;
    this.#inner?.pause();
  }

  resume(): void {
    this.paused = false;
    this.#inner?.resume();
  }

  /** Never rejects: the handler is told. */
  async run(call: JourneyCall): Promise<void> {
    const { router, target, sleep, random, clock } = this.#parts;
    const { signal } = this.#stop;
    const pause = (misses: number) => sleep(Math.min(1_000 * 2 ** (misses - 1) * random(), maxPauseMs), signal);
    this.#handler.onRequestStart?.(this, {});
    try {
      const body = await call.body;
      const payload = parsePayload(body);
      const fields = toFields(call.headers);
      const cost = costOf(fields, payload, target.defaultCost);
      // For all of its workers together.
      let leftMs = waitOf(fields, target.waitMs);
      const lost = new Set<string>();
      let requestIdx: string | undefined;
      for (let worker = 1; !signal.aborted; worker++) {
        const askedAt = clock();
        const ticket = await router.route({ cost, requestIdx, waitMs: leftMs, signal });
        leftMs = Math.max(0, leftMs - (clock() - askedAt));
        requestIdx = ticket.auth.request_idx;
        // The autoscaler does not know yet, or there is no other: it may be about to come back.
        if (lost.has(ticket.url)) await pause(worker - 1);
        const sealed = seal({ ...call, body, payload }, ticket.auth);
        const miss = await this.#ask(ticket, { ...sealed, method: call.method }, worker >= maxWorkers);
        if (miss === undefined) return;
        if (miss.isBusy) await pause(worker);
        else lost.add(ticket.url);
      }
      throw this.reason;
    } catch (error) {
      this.#handler.onResponseError?.(this, this.reason ?? (error as Error));
    }
  }

  /** Resolves when the handler has the end of the answer, or with a miss where it has nothing of one. */
  #ask(
    { url }: Ticket,
    request: { path: string; headers: string[]; body: Buffer | null; method: string },
    isLast: boolean,
  ): Promise<Miss | undefined> {
    const handler = this.#handler;
    const { origin, pathname } = new URL(url);
    const path = pathname.replace(/\/+$/, '') + request.path;
    return new Promise((resolve, reject) => {
      let miss: Miss | undefined;
      let isBegun = false;
      let read = 0;
      let timer: NodeJS.Timeout | undefined;
      this.#parts.poolOf(origin).dispatch(
        { ...request, path, method: request.method as Dispatcher.HttpMethod },
        {
          onRequestStart: (controller) => {
            this.#inner = controller;
            if (this.aborted) controller.abort(this.reason!);
          },
          onResponseStart: (controller, status, headers, message) => {
            if (status < 200) return;
            if (!isLast && isBusy(status)) {
              miss = { isBusy: true };
              timer = setTimeout(() => controller.abort(notRead()), mostRead.ms);
              resolve(miss);
              return;
            }
            isBegun = true;
            handler.onResponseStart?.(this, status, headers, message);
          },
          onResponseData: (controller, chunk) => {
            if (miss === undefined) handler.onResponseData?.(this, chunk);
            else {
              read += chunk.length;
              if (read > mostRead.bytes) controller.abort(notRead());
            }
          },
          onResponseEnd: (_controller, trailers) => {
            clearTimeout(timer);
            if (miss === undefined) handler.onResponseEnd?.(this, trailers);
            resolve(miss);
          },
          onResponseError: (_controller, error) => {
            clearTimeout(timer);
            if (isBegun) {
              handler.onResponseError?.(this, this.reason ?? error);
              resolve(undefined);
            } else if (this.aborted || isLast) reject(error);
            else resolve({ isBusy: false });
          },
        },
      );
    });
  }
}
