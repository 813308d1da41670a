import type { Upstream } from '../backends/upstream.ts';

/** What one attempt takes from a backend and owes it: a place at its gate, and one word to its breaker. */
export class Standing {
  readonly #upstream: Upstream;
  readonly #isProbe: boolean;
  readonly #startedAt = performance.now();
  #isCounted = false;
  #hasPlace = true;

  /** Takes over a place at the gate. */
  constructor(upstream: Upstream) {
    this.#upstream = upstream;
    this.#isProbe = upstream.breaker.begin();
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

  /** It began well and died in the middle: that counts as well. */
  broke(): void {
    this.#upstream.breaker.failed(this.#isProbe);
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
