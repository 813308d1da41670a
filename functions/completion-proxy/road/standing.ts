import { HttpError, type UpstreamError } from '#shared/errors.ts';
import type { Upstream } from '../backends/upstream.ts';
import type { Call } from './call.ts';
import type { Failure } from './failure.ts';
import type { AttemptFacts } from './observer.ts';

/** What one attempt took and owes: a place at the gate, one word to the breaker, and one to who waits for its beginning. */
export class Standing {
  /** Resolves with undefined once the caller has the first byte, and with a failure where the caller has nothing. */
  readonly begun: Promise<Failure | undefined>;
  readonly #call: Call;
  readonly #attempt: AttemptFacts;
  readonly #upstream: Upstream;
  readonly #isProbe: boolean;
  readonly #startedAt = performance.now();
  #isCounted = false;
  #hasPlace = true;
  #begin!: (failure: Failure | undefined) => void;

  /** Takes over a place at the gate. */
  constructor(call: Call, upstream: Upstream, attempt: AttemptFacts) {
    this.#call = call;
    this.#attempt = attempt;
    this.#upstream = upstream;
    this.#isProbe = upstream.breaker.begin();
    this.begun = new Promise((resolve) => {
      this.#begin = resolve;
    });
  }

  /** What the breaker learns, once: that the backend is well, */
  isWell(): void {
    if (this.#count()) this.#upstream.breaker.succeeded();
  }

  /** or not, */
  isIll(retryAfterMs?: number): void {
    if (this.#count()) this.#upstream.breaker.failed(this.#isProbe, retryAfterMs);
  }

  /** or nothing. */
  isUnknown(): void {
    if (this.#count()) this.#upstream.breaker.abandoned(this.#isProbe);
  }

  /** Without an answer. What is for the caller (no worker has started yet) says nothing of the backend. */
  isIllBy(error: UpstreamError): void {
    // A closed way would start no worker.
    if (error.cause instanceof HttpError) this.isUnknown();
    else this.isIll();
  }

  /** It began well and died in the middle: that counts as well. */
  broke(): void {
    this.#upstream.breaker.failed(this.#isProbe);
  }

  /** The caller gets this answer, */
  hasBegun(): void {
    this.#begin(undefined);
  }

  /** or nothing so far. A caller who leaves is no failure of the backend's. */
  hasFailed(failure: Failure): void {
    const { number, backend } = this.#attempt;
    if (failure.failure !== 'aborted') {
      const fields = { backend: backend.name, attempt: number, reason: failure.error.message };
      this.#call.request.log.warn('attempt failed', fields);
      this.#call.observer?.attemptFailed?.(this.#attempt, failure);
    }
    this.#begin(failure);
  }

  /** Gives the place back, once. */
  leave(): void {
    if (!this.#hasPlace) return;
    this.#hasPlace = false;
    this.#upstream.gate.leave(performance.now() - this.#startedAt);
  }

  #count(): boolean {
    const isFirst = !this.#isCounted;
    this.#isCounted = true;
    return isFirst;
  }
}
