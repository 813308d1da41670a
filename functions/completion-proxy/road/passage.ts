import type { Dispatcher } from 'undici';
import { HttpError, UpstreamError } from '#shared/errors.ts';
import { parseRetryAfterMs } from '#shared/retry.ts';
import type { Carrier, Upstream } from '../backends/upstream.ts';
import type { AnswerSource } from './answer.ts';
import type { Call } from './call.ts';
import { Delivery } from './delivery.ts';
import { callerIsGone, type Failure, type Held, outcomeOf, withAnswer, withoutAnswer } from './failure.ts';
import { type AnswerHead, readHead, toStrings, withoutLength } from './head.ts';
import type { AttemptFacts } from './observer.ts';
import { Patience, type Timed } from './patience.ts';
import { Standing } from './standing.ts';
import { isCommentOnly } from './stream-end.ts';
import { UsageEventFilter } from './usage-event.ts';
import { isBad, isTooLong, toError } from './verdict.ts';

type State =
  /** No head yet. */
  | 'asked'
  /** A head, and the first byte of its body is awaited: until it comes, another backend may still answer. */
  | 'held'
  /** A refusal that may be the model's alone: its body is read before the caller gets it. */
  | 'reading'
  /** A failure's head, which waits for the decision to deliver or drop it. */
  | 'judged'
  | 'flowing'
  /** Collected to be told inside a stream that began with a ping. */
  | 'collecting'
  /** Read for nothing: the caller is gone, or another attempt follows. */
  | 'dropping'
  | 'done';

const onlyOnce = { once: true };
const maxDropped = 64 * 1024;
const maxCollected = 256 * 1024;
const tooLong = () => new UpstreamError('The backend', 'invalid_response', 'the answer is too long for one event');

/** What a backend is asked, and how its answer is to be told. */
export interface Ask {
  options: Dispatcher.DispatchOptions;
  /** It tells the usage of a stream because we ask for it: the caller did not. */
  hidesUsage: boolean;
}

/**
 * One attempt: the request to one backend and its answer, from the place it took at the gate until that is given back.
 * `begun` resolves with undefined once the caller has the first byte, and with a failure where the caller has nothing.
 */
export class Passage implements Dispatcher.DispatchHandler, AnswerSource, Held, Timed {
  readonly attempt: AttemptFacts;
  readonly begun: Promise<Failure | undefined>;
  isPaused = false;
  readonly #call: Call;
  readonly #upstream: Upstream;
  readonly #standing: Standing;
  readonly #patience = new Patience(this);
  #begin!: (failure: Failure | undefined) => void;
  #state: State = 'asked';
  #controller: Dispatcher.DispatchController | undefined;
  #head: AnswerHead | undefined;
  #delivery: Delivery | undefined;
  #trailers: Record<string, string> = {};
  #hasTrailers = false;
  #waiting: Buffer[] = [];
  /** Read in the state that there is. */
  #bytes = 0;
  #isEnded = false;
  #isSettled = false;
  #stopped: UpstreamError | undefined;
  #broken: UpstreamError | undefined;
  #hidesUsage = false;

  /** Takes over a place at the gate of `upstream`. */
  constructor(call: Call, upstream: Upstream, attempt: AttemptFacts) {
    this.#call = call;
    this.#upstream = upstream;
    this.attempt = attempt;
    this.#standing = new Standing(upstream);
    this.begun = new Promise((resolve) => {
      this.#begin = resolve;
    });
  }

  start(carrier: Carrier, { options, hidesUsage }: Ask): void {
    this.#hidesUsage = hidesUsage;
    const { firstByteMs, totalMs } = this.#upstream.backend.timeouts;
    const { signal } = this.#call.request;
    // Never removed, which would cost as much again: the signal goes with the call, and a settled attempt does nothing.
    signal.addEventListener('abort', this.#onAbort, onlyOnce);
    this.#patience.begin(firstByteMs, totalMs);
    this.#call.observer?.attemptStarted?.(this.attempt);
    if (signal.aborted) {
      this.callerLeft();
      return;
    }
    try {
      carrier.dispatch(options, this);
    } catch (error) {
      this.onResponseError(undefined, error as Error);
    }
  }

  /** Ends the backend's work. What waits for a connection has no controller yet and is stopped when it gets one. */
  stop(error: UpstreamError) {
    this.#stopped = error;
    if (this.#controller === undefined) this.onResponseError(undefined, error);
    else this.#controller.abort(error);
  }

  onRequestStart(controller: Dispatcher.DispatchController) {
    this.#controller = controller;
    if (this.#stopped !== undefined) controller.abort(this.#stopped);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ) {
    // 1xx announces the answer and is none.
    if (status < 200) return;
    const call = this.#call;
    if (this.#state === 'dropping') {
      // Nobody gets this answer, and yet it is counted.
      if (call.isDraining) call.observer?.answered?.(this.attempt, status, toStrings(controller.rawHeaders));
      return;
    }
    const told = readHead(status, controller.rawHeaders, headers);
    const hidesUsage = this.#hidesUsage && told.form === 'sse' && status < 300;
    const head = hidesUsage ? withoutLength(told) : told;
    this.#head = head;
    this.#delivery = new Delivery(call, this.attempt, head, hidesUsage ? new UsageEventFilter() : undefined);
    if (isBad(status)) {
      this.isPaused = true;
      controller.pause();
      const retryAfterMs = parseRetryAfterMs(head.retryAfter);
      this.#standing.isIll(retryAfterMs);
      this.#judge(withAnswer(this, status, `status ${status}`, retryAfterMs));
    } else if (status === 400 && call.hasOthers && head.form === undefined) this.#state = 'reading';
    else if (call.route !== undefined && status < 300) this.#state = 'held';
    else {
      this.#standing.isWell();
      this.deliver();
    }
  }

  /** The place is free while it is decided what follows. */
  #judge(failure: Failure) {
    this.#state = 'judged';
    this.#standing.leave();
    this.#report(failure);
  }

  onResponseData(_controller: Dispatcher.DispatchController | undefined, chunk: Buffer) {
    switch (this.#state) {
      case 'held':
        this.#onFirstChunk(chunk);
        break;
      case 'flowing':
        this.#patience.heard();
        if (!this.#delivery!.pass(chunk)) {
          this.isPaused = true;
          this.#controller?.pause();
        }
        break;
      case 'reading':
      case 'collecting':
        this.#bytes += chunk.length;
        this.#waiting.push(chunk);
        if (this.#state === 'reading' && this.#bytes > maxDropped) this.#onRefusal(false);
        else if (this.#state === 'collecting' && this.#bytes > maxCollected) this.stop(tooLong());
        break;
      case 'judged':
        this.#waiting.push(chunk);
        break;
      case 'dropping':
        this.#onDropped(chunk);
        break;
    }
  }

  #onFirstChunk(chunk: Buffer) {
    const call = this.#call;
    const { form, length, rawHeaders } = this.#head!;
    if (form === 'sse' && isCommentOnly(chunk)) {
      // The backend's own signs of life go on at once, and another backend may still answer after them.
      if (!call.isAnswered) {
        call.isCommitted = true;
        call.respond(200, rawHeaders, this.#readTrailers);
      }
      call.answer.add(chunk);
      call.heard();
      return;
    }
    this.#standing.isWell();
    // The whole answer in one piece has no next chunk to wait for.
    this.#deliver(chunk.length === length);
    this.onResponseData(undefined, chunk);
  }

  /** A prompt too long for this model may fit another one's: that is worth the next backend, and no fault of this one. */
  #onRefusal(isWhole: boolean) {
    this.#standing.isWell();
    const isRepeatable = isWhole && isTooLong(Buffer.concat(this.#waiting).toString('utf8'));
    if (isRepeatable) this.#judge(withAnswer(this, this.#head!.status, 'the prompt is too long for this model'));
    else this.deliver();
  }

  #onDropped(chunk: Buffer) {
    this.#bytes += chunk.length;
    this.#patience.heard();
    if (this.#call.request.signal.aborted) this.#call.observer?.chunk?.(chunk);
    else if (this.#bytes > maxDropped) this.#controller?.abort(callerIsGone());
  }

  #readTrailers = () => this.#trailers;

  deliver(): void {
    this.#deliver(false);
  }

  #deliver(isLastChunk: boolean) {
    const call = this.#call;
    if (this.#broken !== undefined) {
      call.fail(this.#broken, outcomeOf(this.#broken));
      return;
    }
    call.answer.source = this;
    if (!isLastChunk) this.#patience.expectNext(this.#upstream.backend.timeouts.idleMs);
    const { form, status } = this.#head!;
    this.#bytes = 0;
    this.#state = call.isCommitted && (form !== 'sse' || status >= 300) ? 'collecting' : 'flowing';
    if (this.#state === 'flowing') this.#delivery!.begin(this.#readTrailers);
    this.#report(undefined);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const chunk of waiting) this.onResponseData(undefined, chunk);
    if (this.#isEnded) this.#finish();
    else if (!call.answer.isFull) this.resume();
  }

  drop(): void {
    if (this.#isSettled) return;
    if (this.#isEnded) {
      this.#settle();
      return;
    }
    this.#state = 'dropping';
    this.#bytes = 0;
    this.#waiting = [];
    // A short rest is read, so that the connection can be used again.
    if ((this.#head?.length ?? Number.POSITIVE_INFINITY) > maxDropped) this.stop(callerIsGone());
    else this.resume();
  }

  onResponseEnd(controller: Dispatcher.DispatchController) {
    this.#isEnded = true;
    const raw = toStrings(controller.rawTrailers);
    this.#hasTrailers = raw.length > 0;
    for (let index = 0; index < raw.length; index += 2) this.#trailers[raw[index]!] = raw[index + 1]!;
    if (this.#state === 'held') {
      const early = this.#delivery!.earlyEnd();
      if (early !== undefined) return this.onResponseError(controller, early);
      this.#standing.isWell();
      this.deliver();
    } else if (this.#state === 'reading') this.#onRefusal(true);
    else if (this.#state === 'flowing' || this.#state === 'collecting') this.#finish();
    else if (this.#state === 'dropping') this.#settle();
  }

  #finish() {
    const delivery = this.#delivery!;
    if (this.#state === 'collecting') {
      const { status, rawHeaders } = this.#head!;
      this.#settle();
      this.#call.observer?.answered?.(this.attempt, status, rawHeaders);
      this.#call.tellInStream(status, Buffer.concat(this.#waiting));
      return;
    }
    const early = delivery.earlyEnd();
    if (early === undefined) {
      this.#settle();
      delivery.finish(this.#hasTrailers);
    } else this.#breakOff(early);
  }

  #breakOff(error: UpstreamError) {
    this.#standing.broke();
    this.#settle();
    this.#delivery!.breakOff(error);
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, cause: Error) {
    if (this.#isSettled) return;
    const error = this.#stopped ?? toError(cause);
    const state = this.#state;
    if (state === 'flowing') this.#breakOff(error);
    else {
      if (state === 'judged') this.#broken = error;
      if (state === 'asked' || state === 'reading' || state === 'held') {
        // What is for the caller (no worker has started yet) says nothing of the backend: a closed way would start none.
        if (error.cause instanceof HttpError) this.#standing.isUnknown();
        else this.#standing.isIll();
        this.#report(withoutAnswer(error));
      }
      this.#settle();
      if (state === 'collecting') this.#call.fail(error, outcomeOf(error));
    }
  }

  resume(): void {
    if (!this.isPaused || this.#state === 'judged') return;
    this.isPaused = false;
    this.#patience.heard();
    this.#controller?.resume();
  }

  // An object with handleEvent() in its place outlives its call: the heap then grows until V8 collects all of it.
  #onAbort = () => this.callerLeft();

  callerLeft(): void {
    if (this.#isSettled) return;
    this.#standing.isUnknown();
    const hasBegun = this.#state === 'flowing' || this.#state === 'collecting';
    if (this.#upstream.backend.cancelOnDisconnect || this.#state === 'judged') {
      this.#settle();
      this.stop(callerIsGone());
    } else {
      this.#call.isDraining = true;
      this.#state = 'dropping';
      this.resume();
    }
    this.#report(withoutAnswer(callerIsGone()));
    if (hasBegun) this.#call.end('client_abort');
  }

  #report(failure: Failure | undefined) {
    if (failure !== undefined) {
      const { number, backend } = this.attempt;
      const fields = { backend: backend.name, attempt: number, reason: failure.error.message };
      // A caller who leaves is no failure of the backend's.
      if (failure.failure !== 'aborted') {
        this.#call.request.log.warn('attempt failed', fields);
        this.#call.observer?.attemptFailed?.(this.attempt, failure);
      }
    }
    this.#begin(failure);
  }

  #settle() {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#state = 'done';
    this.#patience.clear();
    this.#standing.leave();
    if (this.#call.isDraining) this.#call.endDrained();
  }
}
