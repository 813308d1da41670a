import type { UpstreamError } from '#shared/errors.ts';
import { toProblem } from '#shared/http/problem.ts';
import type { Call } from './call.ts';
import { endedEarly, outcomeOf } from './failure.ts';
import type { AnswerHead } from './head.ts';
import type { AttemptFacts } from './observer.ts';
import type { Padding } from './padding.ts';
import { StreamEnd } from './stream-end.ts';
import type { UsageEventFilter } from './usage-event.ts';
import { isBad } from './verdict.ts';

/** The answer of one attempt on its way to the caller, from its first byte to its end or its break. */
export class Delivery {
  readonly #call: Call;
  readonly #attempt: AttemptFacts;
  readonly #head: AnswerHead;
  /** Of streams only. */
  readonly #end: StreamEnd | undefined;
  readonly #filter: UsageEventFilter | undefined;
  #padding: Padding | undefined;
  #hasBegun = false;

  constructor(call: Call, attempt: AttemptFacts, head: AnswerHead, filter?: UsageEventFilter) {
    this.#call = call;
    this.#filter = filter;
    this.#attempt = attempt;
    this.#head = head;
    if (head.form === undefined) return;
    const { route } = call;
    const hasTerminator = route?.hasTerminator === true && attempt.backend.kind !== 'plain' && head.status < 300;
    this.#end = new StreamEnd(hasTerminator ? route.dialect : 'other');
  }

  /** Sends the head, where none has gone. */
  begin(readTrailers: () => Record<string, string>): void {
    const call = this.#call;
    const { status, rawHeaders, form, length } = this.#head;
    // What has promised its length takes no byte more.
    if (form === 'sse' && status < 300 && (length === undefined || call.isAnswered)) {
      call.canPing = this.#canPing;
      this.#padding = call.padding;
    } else call.stopPings();
    if (!call.isAnswered) call.respond(status, rawHeaders, readTrailers);
    call.observer?.answered?.(this.#attempt, status, rawHeaders);
  }

  #canPing = () => !this.#call.answer.isFull && this.#end?.isAtBoundary('sse') === true;

  /** Returns whether the caller keeps up. */
  pass(chunk: Buffer): boolean {
    const call = this.#call;
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      call.observer?.firstByte?.();
    }
    this.#end?.note(chunk);
    call.observer?.chunk?.(chunk);
    call.heard();
    const passed = this.#filter === undefined ? chunk : this.#filter.take(chunk);
    if (passed.length === 0) return true;
    return this.#padding === undefined ? call.answer.add(passed) : this.#padding.pass(passed);
  }

  /** The backend has ended: too early where this is an error. */
  earlyEnd(): UpstreamError | undefined {
    return this.#end?.isComplete() === false ? endedEarly() : undefined;
  }

  /** What waited for the end of its event. */
  #letGo() {
    const rest = this.#filter?.end();
    if (rest !== undefined && rest.length > 0) this.#call.answer.add(rest);
  }

  finish(hasTrailers: boolean): void {
    this.#letGo();
    const { status, length } = this.#head;
    this.#call.answer.finish(hasTrailers || length === undefined);
    this.#call.end(isBad(status) ? 'upstream_error' : 'ok');
  }

  /** The backend died in the middle: the caller sees it in the stream's own form, or by a cut connection. */
  breakOff(error: UpstreamError): void {
    const call = this.#call;
    const { status, form, length } = this.#head;
    call.observer?.attemptFailed?.(this.#attempt, { failure: error.failure, status });
    call.request.log.warn('the answer broke off', { backend: this.#attempt.backend.name, reason: error.message });
    this.#letGo();
    if (form !== undefined && length === undefined && !call.answer.isDestroyed) {
      call.endWithError(toProblem(error), form, this.#end?.isAtBoundary(form) ?? true);
    } else call.answer.destroy(error);
    call.end(outcomeOf(error));
  }
}
