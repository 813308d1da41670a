import { HttpError, UpstreamError } from '#shared/errors.ts';

export interface GateOptions {
  /** Calls at a time; Infinity is no limit. */
  maxConcurrency: number;
  /** Calls that may wait. */
  maxQueue: number;
  maxWaitMs: number;
  clock: () => number;
}

interface Waiter {
  admit(): void;
}

const left = () => new UpstreamError('The backend', 'aborted', 'the caller left the queue');

/**
 * The places of one backend, and the queue for them. Callers take turns (each keeps the order of its own calls), so that
 * one with a thousand calls does not stand before everybody else. Who leaves gives its place in the queue back at once.
 */
export class Gate {
  readonly #options: GateOptions;
  #active = 0;
  #waiting = 0;
  readonly #callers = new Map<string, Set<Waiter>>();
  /** How long a place is held, smoothed; what an honest Retry-After is made of. */
  #heldMs = 1_000;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  get active() {
    return this.#active;
  }

  get waiting() {
    return this.#waiting;
  }

  /** Takes a place if one is free and nobody waits for it. */
  tryEnter(): boolean {
    if (this.#active >= this.#options.maxConcurrency || this.#waiting > 0) return false;
    this.#active += 1;
    return true;
  }

  get isFull(): boolean {
    return this.#active >= this.#options.maxConcurrency && this.#waiting >= this.#options.maxQueue;
  }

  /** Seconds after which a place is likely, from how long places were held. */
  get retryAfterS(): number {
    const turns = (this.#waiting + 1) / Math.min(this.#options.maxConcurrency, 1e9);
    return Math.max(1, Math.ceil((turns * this.#heldMs) / 1_000));
  }

  /**
   * Waits for a place. Throws HttpError 429 `queue_full`, HttpError 503 `queue_timeout` after `maxWaitMs`, and
   * UpstreamError aborted when the caller leaves.
   */
  enter(caller: string, signal: AbortSignal): Promise<void> {
    if (this.tryEnter()) return Promise.resolve();
    if (signal.aborted) return Promise.reject(left());
    if (this.isFull) return Promise.reject(this.refusal(429, 'queue_full', 'Too many calls wait for this model'));
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#remove(caller, waiter);
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
      };
      const onAbort = () => {
        leave();
        reject(left());
      };
      const waiter: Waiter = {
        admit: () => {
          leave();
          resolve();
        },
      };
      const timer = setTimeout(() => {
        leave();
        reject(this.refusal(503, 'queue_timeout', 'No place became free in time'));
      }, this.#options.maxWaitMs);
      signal.addEventListener('abort', onAbort, { once: true });
      const queue = this.#callers.get(caller);
      if (queue === undefined) this.#callers.set(caller, new Set([waiter]));
      else queue.add(waiter);
      this.#waiting += 1;
    });
  }

  refusal(status: 429 | 503, code: string, message: string): HttpError {
    return new HttpError(status, message, { code, headers: { 'Retry-After': String(this.retryAfterS) } });
  }

  /** Gives a place back; the next caller in turn has it at once. */
  leave(heldMs: number): void {
    this.#heldMs += (heldMs - this.#heldMs) / 8;
    this.#active -= 1;
    if (this.#waiting === 0 || this.#active >= this.#options.maxConcurrency) return;
    const [caller, queue] = this.#callers.entries().next().value!;
    const [waiter] = queue;
    // To the end of the round: the others are before this caller's next call.
    this.#callers.delete(caller);
    this.#callers.set(caller, queue);
    this.#active += 1;
    waiter!.admit();
  }

  #remove(caller: string, waiter: Waiter) {
    const queue = this.#callers.get(caller);
    if (queue?.delete(waiter) !== true) return;
    this.#waiting -= 1;
    if (queue.size === 0) this.#callers.delete(caller);
  }
}
