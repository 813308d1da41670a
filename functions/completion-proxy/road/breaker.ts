export interface BreakerOptions {
  /** Failures within the window that open it, when they are at least half of its calls; 0 never opens. */
  failures: number;
  windowMs: number;
  /** How long it stays open, and twice as long after a probe that failed: a backend that is back must not wait long. */
  openMs: number;
  clock: () => number;
}

export type BreakerState = 'closed' | 'open' | 'half_open';

/**
 * Keeps calls from a backend that fails. Failures are 5xx, 429, time-outs and broken connections. After `openMs` one call
 * at a time goes through as a probe: an answer closes it, a failure opens it again.
 */
export class Breaker {
  readonly #options: BreakerOptions;
  #openUntil = 0;
  #openedTimes = 0;
  #probing = false;
  /** A backend that named a time (Retry-After) is not asked before it. */
  #notBefore = 0;
  // Two halves of the window: counts of the one that runs and of the one before.
  #halfStartedAt = Number.NEGATIVE_INFINITY;
  #calls = [0, 0];
  #failures = [0, 0];

  constructor(options: BreakerOptions) {
    this.#options = options;
  }

  get state(): BreakerState {
    if (this.#openedTimes === 0) return 'closed';
    return this.#options.clock() < this.#openUntil ? 'open' : 'half_open';
  }

  /** How long until the next call may go through; 0 is now. */
  waitMs(): number {
    const now = this.#options.clock();
    const until = Math.max(this.#openUntil, this.#notBefore);
    if (now < until) return until - now;
    return this.#openedTimes > 0 && this.#probing ? 1 : 0;
  }

  get isOpen(): boolean {
    return (this.#openedTimes > 0 || this.#notBefore > 0) && this.waitMs() > 0;
  }

  /** A call goes through; each is followed by one `succeeded`, `failed` or `abandoned`. Returns whether it is the probe. */
  begin(): boolean {
    if (this.#openedTimes === 0) return false;
    this.#probing = true;
    return true;
  }

  succeeded(): void {
    this.#notBefore = 0;
    this.#count(0);
    if (this.#openedTimes > 0) this.#close();
  }

  failed(isProbe: boolean, retryAfterMs = 0): void {
    const now = this.#options.clock();
    if (retryAfterMs > 0) this.#notBefore = now + Math.min(retryAfterMs, 300_000);
    if (this.#options.failures === 0) return;
    this.#count(1);
    if (this.#openedTimes > 0) {
      // A call from before the opening that fails late says nothing new.
      if (isProbe) this.#open(now);
      return;
    }
    const failures = this.#failures[0]! + this.#failures[1]!;
    const calls = this.#calls[0]! + this.#calls[1]!;
    if (failures >= this.#options.failures && failures * 2 >= calls) this.#open(now);
  }

  /** The caller left before the backend showed how it is. */
  abandoned(isProbe: boolean): void {
    if (isProbe) this.#probing = false;
  }

  #open(now: number) {
    this.#openUntil = now + this.#options.openMs * Math.min(2, 2 ** this.#openedTimes);
    this.#openedTimes += 1;
    this.#probing = false;
  }

  #close() {
    this.#openedTimes = 0;
    this.#probing = false;
    this.#openUntil = 0;
    this.#calls = [0, 0];
    this.#failures = [0, 0];
  }

  #count(failure: 0 | 1) {
    const now = this.#options.clock();
    const halfMs = this.#options.windowMs / 2;
    if (now - this.#halfStartedAt >= halfMs) {
      const isNext = now - this.#halfStartedAt < 2 * halfMs;
      this.#calls = [0, isNext ? this.#calls[0]! : 0];
      this.#failures = [0, isNext ? this.#failures[0]! : 0];
      this.#halfStartedAt = now;
    }
    this.#calls[0]! += 1;
    this.#failures[0]! += failure;
  }
}
