import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { Caller } from '#shared/auth/authenticate.ts';
import { HttpError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import { callerGoneStatus, type Problem, toProblem } from '#shared/http/problem.ts';
import type { BackendKind } from '../backends/backend.ts';
import { toErrorChunk } from '../dialect.ts';
import type { LlmRoute } from '../routing/llm-route.ts';
import type { RequestScan } from '../routing/request-scan.ts';
import type { Trace } from '../traces/trace.ts';
import { Answer } from './answer.ts';
import type { CallFacts, CallObserver, Outcome } from './observer.ts';
import { Padding } from './padding.ts';
import type { StreamForm } from './stream-end.ts';
import { problemIn } from './verdict.ts';

/** A call as it comes to the road. */
export interface RoadRequest {
  method: string;
  /** As the caller sent it, or without our prefix; begins with a slash. */
  target: string;
  path: string;
  rawHeaders: string[];
  headers: IncomingHttpHeaders;
  body: Readable;
  hasBody: boolean;
  caller: Caller;
  callId: string;
  signal: AbortSignal;
  log: Logger;
  /** Only backends of this kind: a call of our own, written in its dialect. */
  onlyKind?: BackendKind;
}

export interface RoadAnswer {
  status: number;
  /** Name, value, name, value. */
  rawHeaders: string[];
  /** Once. Bytes where the whole answer is there by now. */
  takeBody(): Readable | Buffer;
  trailers(): Record<string, string>;
  /** Attempts so far. */
  attempts: number;
  /** The backend's own status is a failure that we tried to get over. */
  isFinalFailure: boolean;
  /** Our span of the caller's trace. */
  trace?: Trace | undefined;
}

/** Clients retry as well: what we could not get over is not better for being asked three times as often. */
const notAgain = ({ status, message, code, headers }: Problem) =>
  new HttpError(status, message, { code, headers: { ...headers, 'x-should-retry': 'false' } });

const noTrailers = () => ({});
const pingComment = Buffer.from(': ping\n\n');
const eventStreamHead = ['Content-Type', 'text/event-stream; charset=utf-8', 'Cache-Control', 'no-cache'];

/**
 * One call from its beginning to its end: what was asked, the answer that the caller reads, and who watches. It answers
 * once; after that, a failure is told inside the stream or by cutting it.
 */
export class Call {
  readonly request: RoadRequest;
  readonly route: LlmRoute | undefined;
  readonly scan: RequestScan;
  readonly facts: CallFacts;
  readonly observer: CallObserver | undefined;
  readonly answer = new Answer();
  attempts = 0;
  /** Another backend may be asked when this one refuses. */
  hasOthers = false;
  /** The head has gone to the caller. */
  isAnswered = false;
  /** It went before any byte of a backend: the status is 200, and all that came so far is comments. */
  isCommitted = false;
  /** The caller has left, and the backend's work goes on: the call ends with it. */
  isDraining = false;
  padding: Padding | undefined;
  #isEnded = false;
  #status = 0;
  #pingTimer: NodeJS.Timeout | undefined;
  readonly #resolve: (answer: RoadAnswer) => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    parts: { request: RoadRequest; route: LlmRoute | undefined; scan: RequestScan; facts: CallFacts },
    observer: CallObserver | undefined,
    resolve: (answer: RoadAnswer) => void,
    reject: (error: unknown) => void,
  ) {
    this.request = parts.request;
    this.route = parts.route;
    this.scan = parts.scan;
    this.facts = parts.facts;
    this.observer = observer;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Comments into a silent event stream, from now on. */
  keepAlive(everyMs: number): void {
    this.#pingTimer = setTimeout(Call.#ping, everyMs, this).unref();
  }

  static #ping(call: Call) {
    if (call.#isEnded || call.answer.isDestroyed) return;
    if (call.canPing()) {
      if (!call.isAnswered) call.#commit();
      if (call.padding === undefined) call.answer.add(pingComment);
      else call.padding.pass(pingComment);
    }
    call.#pingTimer?.refresh();
  }

  /** Asked before a ping; the passage that fills the answer knows whether an event is half sent. */
  canPing: () => boolean = () => true;

  #commit() {
    this.isCommitted = true;
    this.respond(200, [...eventStreamHead]);
  }

  /** Its event stream is to be pushed through hops that keep it back; `count` hears of what that took. */
  padWith(count: (bytes: number) => void): void {
    this.padding = new Padding(this.answer, () => this.canPing(), count);
  }

  /** A byte came: the next ping is `everyMs` away. */
  heard(): void {
    this.#pingTimer?.refresh();
  }

  stopPings(): void {
    clearTimeout(this.#pingTimer);
    this.#pingTimer = undefined;
  }

  respond(status: number, rawHeaders: string[], trailers: () => Record<string, string> = noTrailers): void {
    this.isAnswered = true;
    this.#status = status;
    const isFinalFailure = this.route !== undefined && (status === 429 || status >= 500);
    const {
      attempts,
      answer,
      facts: { trace },
    } = this;
    this.#resolve({ status, rawHeaders, takeBody: () => answer.take(), trailers, attempts, isFinalFailure, trace });
  }

  /** Before the head: the caller gets our error. After it: an error inside the stream where it has a form for it. */
  fail(error: unknown, outcome: Outcome): void {
    const problem = toProblem(error);
    if (!this.isAnswered) {
      this.end(outcome, problem.status);
      this.#reject(this.attempts > 1 ? notAgain(problem) : error);
      return;
    }
    this.end(outcome);
    if (this.isCommitted) this.endWithError(problem, 'sse', true);
    else this.answer.destroy(error as Error);
  }

  /** `atBoundary`: nothing is half sent, else the piece is ended first, so that the error has a line of its own. */
  endWithError(problem: Problem, form: StreamForm, atBoundary: boolean): void {
    const { answer, request, facts } = this;
    if (answer.isDestroyed) return;
    const gap = atBoundary ? '' : form === 'sse' ? '\n\n' : '\n';
    answer.add(Buffer.from(gap + toErrorChunk(problem, request.callId, facts.dialect, form)));
    answer.finish();
  }

  /** After a ping the status is 200: another one, or a body that is no stream, becomes an event. */
  tellInStream(status: number, body: Buffer): void {
    const text = body.toString('utf8');
    this.observer?.chunk?.(body);
    if (status < 300) {
      this.answer.add(Buffer.from(`data: ${text.replace(/\r\n|\r|\n/g, '\ndata: ')}\n\n`));
      this.answer.finish();
      this.end('ok');
    } else {
      this.endWithError(problemIn(status, text), 'sse', true);
      this.end('upstream_error', status);
    }
  }

  end(outcome: Outcome, status = this.#status): void {
    if (this.#isEnded || this.isDraining) return;
    this.#isEnded = true;
    this.stopPings();
    this.padding?.stop();
    this.observer?.ended?.(outcome, status);
  }

  endDrained(): void {
    this.isDraining = false;
    this.end('client_abort', this.#status || callerGoneStatus);
  }
}
