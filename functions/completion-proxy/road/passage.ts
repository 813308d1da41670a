import type { Dispatcher } from 'undici';
import type { UpstreamError } from '#shared/errors.ts';
import { parseRetryAfterMs } from '#shared/retry.ts';
import type { Carrier, Upstream } from '../backends/upstream.ts';
import type { AnswerSource } from './answer.ts';
import type { Ask } from './ask.ts';
import type { Call } from './call.ts';
import { Control } from './control.ts';
import { Delivery } from './delivery.ts';
import { callerIsGone, type Failure, type Held, outcomeOf, tooLong, withAnswer, withoutAnswer } from './failure.ts';
import { readHead, toStrings } from './head.ts';
import type { AttemptFacts } from './observer.ts';
import { type Stage, stageAtHead, stageOfBody } from './stage.ts';
import { Standing } from './standing.ts';
import { isTooLong, toError } from './verdict.ts';

const onlyOnce = { once: true };
const maxRefusal = 64 * 1024;
const maxCollected = 256 * 1024;

/** One attempt: the request to one backend and its answer, from the place it took at the gate until that is given back. */
export class Passage implements Dispatcher.DispatchHandler, AnswerSource, Held {
  readonly #call: Call;
  readonly #attempt: AttemptFacts;
  readonly #upstream: Upstream;
  readonly #standing: Standing;
  readonly #control: Control;
  #stage: Stage = 'asked';
  #delivery: Delivery | undefined;
  #isEnded = false;
  #isSettled = false;
  /** What became of it while it was judged. */
  #broken: UpstreamError | undefined;
  #hidesUsage = false;

  /** Takes over a place at the gate of `upstream`. */
  constructor(call: Call, upstream: Upstream, attempt: AttemptFacts) {
    this.#call = call;
    this.#attempt = attempt;
    this.#upstream = upstream;
    this.#standing = new Standing(call, upstream, attempt);
    this.#control = new Control(this, upstream.backend.timeouts);
  }

  /** Resolves with undefined once the caller has the first byte, and with a failure where the caller has nothing. */
  start(carrier: Carrier, { options, hidesUsage }: Ask): Promise<Failure | undefined> {
    this.#hidesUsage = hidesUsage;
    const { signal } = this.#call.request;
    // Never removed, which would cost as much again: the signal goes with the call, and a settled attempt does nothing.
    signal.addEventListener('abort', this.#onAbort, onlyOnce);
    this.#control.begin();
    this.#call.observer?.attemptStarted?.(this.#attempt);
    try {
      if (signal.aborted) this.callerLeft(true);
      else carrier.dispatch(options, this);
    } catch (error) {
      this.onResponseError(undefined, error as Error);
    }
    return this.#standing.begun;
  }

  onRequestStart(controller: Dispatcher.DispatchController) {
    this.#control.take(controller);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ) {
    // 1xx announces the answer and is none.
    if (status < 200) return;
    const call = this.#call;
    if (this.#stage === 'dropping') {
      // Nobody gets this answer, and yet it is counted.
      if (call.isDraining) call.observer?.answered?.(this.#attempt, status, toStrings(controller.rawHeaders));
      return;
    }
    const head = readHead(status, controller.rawHeaders, headers);
    this.#delivery = new Delivery(call, this.#attempt, head, this.#hidesUsage);
    this.#stage = stageAtHead(call, head);
    if (this.#stage === 'judged') {
      this.#control.pause();
      const retryAfterMs = parseRetryAfterMs(head.retryAfter);
      this.#standing.isIll(retryAfterMs);
      this.#judge(withAnswer(this, status, `status ${status}`, retryAfterMs));
    } else if (this.#stage === 'flowing') {
      this.#standing.isWell();
      this.deliver();
    }
  }

  /** The place is free while it is decided what follows. */
  #judge(failure: Failure) {
    this.#stage = 'judged';
    this.#standing.leave();
    this.#standing.hasFailed(failure);
  }

  onResponseData(_controller: Dispatcher.DispatchController | undefined, chunk: Buffer) {
    switch (this.#stage) {
      case 'held':
        this.#onFirstChunk(chunk);
        break;
      case 'flowing':
        this.#control.heard();
        if (!this.#delivery!.pass(chunk)) this.#control.pause();
        break;
      case 'judged':
      case 'reading':
        if (this.#delivery!.keep(chunk) > maxRefusal && this.#stage === 'reading') this.#onRefusal(false);
        break;
      case 'collecting':
        this.#control.heard();
        if (this.#delivery!.keep(chunk) > maxCollected) this.#control.stop(tooLong());
        break;
      case 'dropping':
        this.#control.heard();
        // What a caller who left does not get any more is told to who watches.
        if (this.#call.request.signal.aborted) this.#call.observer?.chunk?.(chunk);
        else this.#control.skip(chunk);
        break;
    }
  }

  #onFirstChunk(chunk: Buffer) {
    const delivery = this.#delivery!;
    if (delivery.passComment(chunk)) return;
    this.#standing.isWell();
    // The whole answer in one piece has no next chunk to wait for.
    this.deliver(chunk.length === delivery.head.length);
    this.onResponseData(undefined, chunk);
  }

  /** A prompt too long for this model may fit another one's: that is worth the next backend, and no fault of this one. */
  #onRefusal(isWhole: boolean) {
    this.#standing.isWell();
    const delivery = this.#delivery!;
    if (isWhole && isTooLong(delivery.kept.toString('utf8'))) {
      this.#judge(withAnswer(this, delivery.head.status, 'the prompt is too long for this model'));
    } else this.deliver();
  }

  deliver(isLastChunk = false): void {
    const call = this.#call;
    if (this.#broken !== undefined) {
      call.fail(this.#broken, outcomeOf(this.#broken));
      return;
    }
    call.answer.source = this;
    if (!isLastChunk) this.#control.expectNext();
    const delivery = this.#delivery!;
    this.#stage = stageOfBody(call, delivery.head);
    if (this.#stage === 'flowing') delivery.begin();
    this.#standing.hasBegun();
    for (const chunk of delivery.takeKept()) this.onResponseData(undefined, chunk);
    if (this.#isEnded) this.#finish();
    else if (!call.answer.isFull) this.resume();
  }

  drop(): void {
    if (this.#isSettled) return;
    if (this.#isEnded) this.#settle();
    else {
      this.#stage = 'dropping';
      this.#delivery!.takeKept();
      this.#control.readOut(this.#delivery!.head.length);
    }
  }

  onResponseEnd(controller: Dispatcher.DispatchController) {
    this.#isEnded = true;
    this.#delivery?.takeTrailers(toStrings(controller.rawTrailers));
    if (this.#stage === 'held') {
      const early = this.#delivery!.earlyEnd();
      if (early !== undefined) return this.onResponseError(controller, early);
      this.#standing.isWell();
      this.deliver();
    } else if (this.#stage === 'reading') this.#onRefusal(true);
    else if (this.#stage === 'flowing' || this.#stage === 'collecting') this.#finish();
    else if (this.#stage === 'dropping') this.#settle();
  }

  #finish() {
    const delivery = this.#delivery!;
    if (this.#stage === 'collecting') {
      this.#settle();
      delivery.finishAsEvent();
      return;
    }
    const early = delivery.earlyEnd();
    if (early === undefined) {
      this.#settle();
      delivery.finish();
    } else this.#breakOff(early);
  }

  #breakOff(error: UpstreamError) {
    this.#standing.broke();
    this.#settle();
    this.#delivery!.breakOff(error);
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, cause: Error) {
    if (this.#isSettled) return;
    const error = this.#control.stopped ?? toError(cause);
    const stage = this.#stage;
    if (stage === 'flowing') return this.#breakOff(error);
    if (stage === 'judged') this.#broken = error;
    else if (stage === 'asked' || stage === 'reading' || stage === 'held') {
      this.#standing.isIllBy(error);
      this.#standing.hasFailed(withoutAnswer(error));
    }
    this.#settle();
    if (stage === 'collecting') this.#call.fail(error, outcomeOf(error));
  }

  resume(): void {
    if (this.#stage !== 'judged') this.#control.resume();
  }

  // An object with handleEvent() in its place outlives its call: the heap then grows until V8 collects all of it.
  #onAbort = () => this.callerLeft();

  /** Of a backend that was not asked there is no rest to wait for. */
  callerLeft(isUnasked = false): void {
    if (this.#isSettled) return;
    this.#standing.isUnknown();
    const hasBegun = this.#stage === 'flowing' || this.#stage === 'collecting';
    if (isUnasked || this.#upstream.backend.cancelOnDisconnect || this.#stage === 'judged') {
      this.#settle();
      this.#control.stop(callerIsGone());
    } else {
      this.#call.isDraining = true;
      this.#stage = 'dropping';
      this.resume();
    }
    this.#standing.hasFailed(withoutAnswer(callerIsGone()));
    if (hasBegun) this.#call.end('client_abort');
  }

  #settle() {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#stage = 'done';
    this.#control.release();
    this.#standing.leave();
    if (this.#call.isDraining) this.#call.endDrained();
  }
}
