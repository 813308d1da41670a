import type { UpstreamError } from '#shared/errors.ts';
import { toProblem } from '#shared/http/problem.ts';
import type { Call } from './call.ts';
import { endedEarly, outcomeOf } from './failure.ts';
import { type AnswerHead, withoutLength } from './head.ts';
import type { AttemptFacts } from './observer.ts';
import type { Padding } from './padding.ts';
import { isCommentOnly, StreamEnd } from './stream-end.ts';
import { UsageEventFilter } from './usage-event.ts';
import { isBad } from './verdict.ts';

const nothing: readonly Buffer[] = [];

/** The answer of one attempt from its head on: kept while nobody knows what becomes of it, then on its way to the caller. */
export class Delivery {
  readonly head: AnswerHead;
  readonly #call: Call;
  readonly #attempt: AttemptFacts;
  /** Of streams only. */
  readonly #end: StreamEnd | undefined;
  readonly #filter: UsageEventFilter | undefined;
  #padding: Padding | undefined;
  #hasBegun = false;
  #kept: Buffer[] | undefined;
  #keptBytes = 0;
  #trailers: Record<string, string> | undefined;

  /** `hidesUsage`: where it is an event stream, the usage in it is for us alone. */
  constructor(call: Call, attempt: AttemptFacts, head: AnswerHead, hidesUsage: boolean) {
    const { status, form } = head;
    const isFiltered = hidesUsage && form === 'sse' && status < 300;
    this.head = isFiltered ? withoutLength(head) : head;
    this.#call = call;
    this.#attempt = attempt;
    this.#filter = isFiltered ? new UsageEventFilter() : undefined;
    if (form === undefined) return;
    const { route } = call;
    const hasTerminator = route?.hasTerminator === true && attempt.backend.kind !== 'plain' && status < 300;
    this.#end = new StreamEnd(hasTerminator ? route.dialect : 'other');
  }

  /** The backend's own sign of life goes on at once, and another backend may still answer after it. False: it is none. */
  passComment(chunk: Buffer): boolean {
    if (this.head.form !== 'sse' || !isCommentOnly(chunk)) return false;
    const call = this.#call;
    if (!call.isAnswered) {
      call.isCommitted = true;
      call.respond(200, this.head.rawHeaders, this.#readTrailers);
    }
    call.answer.add(chunk);
    call.heard();
    return true;
  }

  /** Returns how many bytes are kept by now. */
  keep(chunk: Buffer): number {
    this.#kept ??= [];
    this.#kept.push(chunk);
    this.#keptBytes += chunk.length;
    return this.#keptBytes;
  }

  get kept(): Buffer {
    return Buffer.concat(this.#kept ?? nothing);
  }

  takeKept(): readonly Buffer[] {
    const kept = this.#kept ?? nothing;
    this.#kept = undefined;
    this.#keptBytes = 0;
    return kept;
  }

  /** Sends the head, where none has gone. */
  begin(): void {
    const call = this.#call;
    const { status, rawHeaders, form, length } = this.head;
    // What has promised its length takes no byte more.
    if (form === 'sse' && status < 300 && (length === undefined || call.isAnswered)) {
      call.canPing = this.#canPing;
      this.#padding = call.padding;
    } else call.stopPings();
    if (!call.isAnswered) call.respond(status, rawHeaders, this.#readTrailers);
    call.observer?.answered?.(this.#attempt, status, rawHeaders);
  }

  #readTrailers = () => this.#trailers ?? {};

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

  /** Name, value, name, value. */
  takeTrailers(raw: readonly string[]): void {
    if (raw.length === 0) return;
    this.#trailers = {};
    for (let index = 0; index < raw.length; index += 2) this.#trailers[raw[index]!] = raw[index + 1]!;
  }

  finish(): void {
    this.#letGo();
    const { status, length } = this.head;
    this.#call.answer.finish(this.#trailers !== undefined || length === undefined);
    this.#call.end(isBad(status) ? 'upstream_error' : 'ok');
  }

  /** What is kept is the whole, and one event of a stream that began with a ping. */
  finishAsEvent(): void {
    const { status, rawHeaders } = this.head;
    this.#call.observer?.answered?.(this.#attempt, status, rawHeaders);
    this.#call.tellInStream(status, this.kept);
  }

  /** The backend died in the middle: the caller sees it in the stream's own form, or by a cut connection. */
  breakOff(error: UpstreamError): void {
    const call = this.#call;
    const { status, form, length } = this.head;
    call.observer?.attemptFailed?.(this.#attempt, { failure: error.failure, status });
    call.request.log.warn('the answer broke off', { backend: this.#attempt.backend.name, reason: error.message });
    this.#letGo();
    if (form !== undefined && length === undefined && !call.answer.isDestroyed) {
      call.endWithError(toProblem(error), form, this.#end?.isAtBoundary(form) ?? true);
    } else call.answer.destroy(error);
    call.end(outcomeOf(error));
  }
}
