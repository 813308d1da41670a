import type { Dispatcher } from 'undici';
import { UpstreamError } from '#shared/errors.ts';
import { toProblem } from '#shared/http/problem.ts';
import { parseRetryAfterMs } from '#shared/retry.ts';
import type { Carrier, Upstream } from '../backends/upstream.ts';
import type { AnswerSource } from './answer.ts';
import type { Call } from './call.ts';
import { callerIsGone, endedEarly, type Failure, type Held, outcomeOf, withAnswer, withoutAnswer } from './failure.ts';
import type { AttemptFacts } from './observer.ts';
import { Patience, type Timed } from './patience.ts';
import { Standing } from './standing.ts';
import { isCommentOnly, StreamEnd, type StreamForm, streamFormOf } from './stream-end.ts';
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

const toStrings = (raw: unknown) => (Array.isArray(raw) ? raw.map((part) => part.toString('latin1')) : []) as string[];
const maxDropped = 64 * 1024;
const maxCollected = 256 * 1024;

/**
 * One attempt: the request to one backend and its answer, from the place it took at the gate until that is given back.
 * `begun` resolves with undefined once the caller has the first byte, and with a failure where the caller has nothing.
 */
export class Passage implements Dispatcher.DispatchHandler, AnswerSource, Held, Timed {
  readonly attempt: AttemptFacts;
  readonly begun: Promise<Failure | undefined>;
  readonly #call: Call;
  readonly #upstream: Upstream;
  readonly #standing: Standing;
  readonly #patience = new Patience(this);
  #begin!: (failure: Failure | undefined) => void;
  #state: State = 'asked';
  #controller: Dispatcher.DispatchController | undefined;
  #status = 0;
  #rawHeaders: string[] = [];
  #trailers: Record<string, string> = {};
  /** Content-Length, where the backend sent it. */
  #length: number | undefined;
  #hasTrailers = false;
  #form: StreamForm | undefined;
  #end: StreamEnd | undefined;
  #waiting: Buffer[] = [];
  #isEnded = false;
  #stopped: UpstreamError | undefined;
  #bytes = 0;
  #isSettled = false;
  isPaused = false;
  #broken: UpstreamError | undefined;

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

  start(carrier: Carrier, options: Dispatcher.DispatchOptions): void {
    const { firstByteMs, totalMs } = this.#upstream.backend.timeouts;
    const { signal } = this.#call.request;
    signal.addEventListener('abort', this.#onAbort, { once: true });
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
    if (status < 200 || this.#state === 'dropping') return;
    const call = this.#call;
    this.#status = status;
    this.#rawHeaders = toStrings(controller.rawHeaders);
    if (headers['content-length'] !== undefined) this.#length = Number(headers['content-length']);
    this.#form = streamFormOf(headers['content-type'] as string, headers['content-encoding'] as string);
    if (isBad(status)) {
      this.#state = 'judged';
      this.isPaused = true;
      controller.pause();
      const retryAfterMs = parseRetryAfterMs(headers['retry-after'] as string | undefined);
      this.#standing.isIll(retryAfterMs);
      this.#standing.leave();
      this.#report(withAnswer(this, status, `status ${status}`, retryAfterMs));
      return;
    }
    if (status === 400 && call.hasOthers && this.#form === undefined) {
      this.#state = 'reading';
      return;
    }
    if (call.route !== undefined && status < 300) {
      this.#state = 'held';
      const { kind } = this.#upstream.backend;
      if (this.#form !== undefined) {
        this.#end = new StreamEnd(call.route.hasTerminator && kind !== 'plain' ? call.route.dialect : 'other');
      }
      return;
    }
    if (this.#form !== undefined) this.#end = new StreamEnd('other');
    this.#standing.isWell();
    this.deliver();
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer) {
    switch (this.#state) {
      case 'held':
        this.#onFirstChunk(chunk);
        break;
      case 'flowing':
        this.#pass(chunk);
        break;
      case 'reading':
        this.#waiting.push(chunk);
        this.#bytes += chunk.length;
        if (this.#bytes > maxDropped) this.#onRefusal(false);
        break;
      case 'judged':
        this.#waiting.push(chunk);
        break;
      case 'collecting':
        this.#waiting.push(chunk);
        this.#bytes += chunk.length;
        if (this.#bytes > maxCollected)
          controller.abort(new UpstreamError('The backend', 'invalid_response', 'too long'));
        break;
      case 'dropping':
        this.#onDropped(chunk);
        break;
    }
  }

  #onFirstChunk(chunk: Buffer) {
    const call = this.#call;
    if (this.#form === 'sse' && isCommentOnly(chunk)) {
      // The backend's own signs of life go on at once, and another backend may still answer after them.
      if (!call.isAnswered) {
        call.isCommitted = true;
        call.respond(200, this.#rawHeaders, this.#readTrailers);
      }
      call.answer.add(chunk);
      call.heard();
      return;
    }
    this.#standing.isWell();
    // The whole answer in one piece has no next chunk to wait for.
    this.deliver(chunk.length === this.#length);
    if (this.#state === 'flowing') this.#pass(chunk);
    else this.onResponseData(this.#controller!, chunk);
  }

  #pass(chunk: Buffer) {
    const call = this.#call;
    if (this.#bytes === 0) call.observer?.firstByte?.();
    this.#patience.heard();
    this.#bytes += chunk.length;
    this.#end?.note(chunk);
    call.observer?.chunk?.(chunk);
    call.heard();
    if (call.answer.add(chunk)) return;
    this.isPaused = true;
    this.#controller?.pause();
  }

  /** A prompt too long for this model may fit another one's: that is worth the next backend, and no fault of this one. */
  #onRefusal(isWhole: boolean) {
    this.#standing.isWell();
    this.#bytes = 0;
    if (!isWhole || !isTooLong(Buffer.concat(this.#waiting).toString('utf8'))) {
      this.deliver();
      return;
    }
    this.#state = 'judged';
    this.#standing.leave();
    this.#report(withAnswer(this, this.#status, 'the prompt is too long for this model'));
  }

  #onDropped(chunk: Buffer) {
    this.#bytes += chunk.length;
    if (this.#call.request.signal.aborted) this.#call.observer?.chunk?.(chunk);
    else if (this.#bytes > maxDropped) this.#controller?.abort(callerIsGone());
    this.#patience.heard();
  }

  #readTrailers = () => this.#trailers;

  /** Gives the caller this answer, whatever its status. */
  deliver(isLastChunk = false): void {
    const call = this.#call;
    if (this.#broken !== undefined) {
      call.fail(this.#broken, outcomeOf(this.#broken));
      return;
    }
    call.answer.source = this;
    if (!isLastChunk) this.#patience.expectNext(this.#upstream.backend.timeouts.idleMs);
    const isStream = this.#form === 'sse' && this.#status < 300;
    if (call.isCommitted && !isStream) {
      this.#state = 'collecting';
      this.#bytes = 0;
    } else {
      this.#state = 'flowing';
      if (isStream) call.canPing = this.#canPing;
      else call.stopPings();
      if (!call.isAnswered) call.respond(this.#status, this.#rawHeaders, this.#readTrailers);
      call.observer?.answered?.(this.attempt, this.#status, this.#rawHeaders);
    }
    this.#report(undefined);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const chunk of waiting) this.onResponseData(this.#controller!, chunk);
    if (this.#isEnded) this.#finish();
    else if (!call.answer.isFull) this.resume();
  }

  /** Another attempt follows: the rest is read where it is short, so that the connection can be used again. */
  drop(): void {
    if (this.#isSettled) return;
    if (this.#isEnded) {
      this.#settle();
      return;
    }
    this.#state = 'dropping';
    this.#bytes = 0;
    this.#waiting = [];
    if (this.#length === undefined || this.#length > maxDropped) this.stop(callerIsGone());
    else this.resume();
  }

  onResponseEnd(controller: Dispatcher.DispatchController) {
    this.#isEnded = true;
    const raw = toStrings(controller.rawTrailers);
    this.#hasTrailers = raw.length > 0;
    for (let index = 0; index < raw.length; index += 2) this.#trailers[raw[index]!] = raw[index + 1]!;
    if (this.#state === 'held') {
      if (this.#end?.isComplete() === false) return this.onResponseError(controller, endedEarly());
      this.#standing.isWell();
      this.deliver();
    } else if (this.#state === 'reading') this.#onRefusal(true);
    else if (this.#state === 'flowing' || this.#state === 'collecting') this.#finish();
    else if (this.#state === 'dropping') this.#settle();
  }

  #finish() {
    const call = this.#call;
    if (this.#state === 'collecting') return this.#finishCollected();
    if (this.#end?.isComplete() === false) return this.#breakOff(endedEarly());
    this.#settle();
    call.answer.finish(this.#hasTrailers || this.#length === undefined);
    call.end(isBad(this.#status) ? 'upstream_error' : 'ok');
  }

  #finishCollected() {
    const call = this.#call;
    this.#settle();
    call.observer?.answered?.(this.attempt, this.#status, this.#rawHeaders);
    call.tellInStream(this.#status, Buffer.concat(this.#waiting));
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, cause: Error) {
    if (this.#isSettled) return;
    const error = this.#stopped ?? toError(cause);
    switch (this.#state) {
      case 'asked':
      case 'reading':
      case 'held':
        this.#standing.isIll();
        this.#report(withoutAnswer(error));
        this.#settle();
        break;
      case 'judged':
        this.#broken = error;
        this.#settle();
        break;
      case 'flowing':
        this.#breakOff(error);
        break;
      case 'collecting':
        this.#settle();
        this.#call.fail(error, outcomeOf(error));
        break;
      case 'dropping':
        this.#settle();
        break;
    }
  }

  /** The backend died in the middle: the caller sees it in the stream's own form, or by a cut connection. */
  #breakOff(error: UpstreamError) {
    const call = this.#call;
    const { failure } = error;
    this.#standing.broke();
    call.observer?.attemptFailed?.(this.attempt, { failure, status: this.#status });
    call.request.log.warn('the answer broke off', { backend: this.attempt.backend.name, reason: error.message });
    this.#settle();
    if (this.#form !== undefined && this.#length === undefined && !call.answer.isDestroyed) {
      call.endWithError(toProblem(error), this.#form, this.#end?.isAtBoundary(this.#form) ?? true);
    } else call.answer.destroy(error);
    call.end(outcomeOf(error));
  }

  #canPing = () => !this.#call.answer.isFull && this.#end?.isAtBoundary('sse') === true;

  resume(): void {
    if (!this.isPaused || this.#state === 'judged') return;
    this.isPaused = false;
    this.#patience.heard();
    this.#controller?.resume();
  }

  #onAbort = () => this.callerLeft();

  callerLeft(): void {
    if (this.#isSettled) return;
    this.#standing.isUnknown();
    const isBegun = this.#state === 'flowing' || this.#state === 'collecting';
    if (this.#upstream.backend.cancelOnDisconnect || this.#state === 'judged') {
      this.#settle();
      this.stop(callerIsGone());
    } else {
      this.#call.isDraining = true;
      this.#state = 'dropping';
      this.resume();
    }
    this.#report(withoutAnswer(callerIsGone()));
    if (isBegun) this.#call.end('client_abort');
  }

  #report(failure: Failure | undefined) {
    if (failure !== undefined) {
      const { number, backend } = this.attempt;
      const fields = { backend: backend.name, attempt: number, reason: failure.error.message };
      if (failure.failure !== 'aborted') this.#call.request.log.warn('attempt failed', fields);
      this.#call.observer?.attemptFailed?.(this.attempt, failure);
    }
    this.#begin(failure);
  }

  #settle() {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#state = 'done';
    this.#patience.clear();
    this.#call.request.signal.removeEventListener('abort', this.#onAbort);
    this.#standing.leave();
    if (this.#call.isDraining) this.#call.endDrained();
  }
}
