/** Adds to a count that all replicas share, and resolves with it: `kv.add` of a store, or nothing shared at all. */
export type AddShared = (key: string, amount: number, ttlMs: number) => Promise<number>;

export interface MeterOptions {
  /** Whole units per window: calls, tokens, nano-dollars. */
  limit: number;
  windowMs: number;
  /** Names the count among the replicas. */
  key: string;
  /** undefined: this replica counts alone. */
  addShared: AddShared | undefined;
  now: () => number;
  /** The store could not be asked: the count goes on alone, and this says so. */
  onStoreError?: (error: unknown) => void;
}

/** The part of a limit that a replica may use before it asks what the others used. */
const blocksPerLimit = 20;

/**
 * What is used of a limit in windows aligned to UTC (minutes, days). Replicas tell each other through the store: each adds
 * what it used since it last asked, after a block of a twentieth of the limit or a second, in the background. So a limit
 * can be passed by at most a block for each other replica, and by what is under way when it is reached. A store that is
 * down leaves each replica with its own count.
 */
export class Meter {
  readonly limit: number;
  readonly #options: MeterOptions;
  readonly #block: number;
  #window = -1;
  /** Used by all, as far as it is known: what the store said last, and our own since. */
  #used = 0;
  #untold = 0;
  #asking: Promise<void> | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;
  #hasFailed = false;

  constructor(options: MeterOptions) {
    this.limit = options.limit;
    this.#options = options;
    this.#block = Math.max(1, Math.ceil(options.limit / blocksPerLimit));
  }

  #roll(now: number): void {
    const window = Math.floor(now / this.#options.windowMs);
    if (window !== this.#window) {
      this.#window = window;
      this.#used = 0;
      this.#untold = 0;
      this.#askedAt = Number.NEGATIVE_INFINITY;
    }
  }

  /** Units left in this window; below 0 when the last calls took more. */
  left(now = this.#options.now()): number {
    this.#roll(now);
    return this.limit - this.#used;
  }

  /** ms since 1970, when the window ends. */
  resetsAt(now = this.#options.now()): number {
    this.#roll(now);
    return (this.#window + 1) * this.#options.windowMs;
  }

  /** Counts what was used, now; the others learn of it soon. */
  use(amount: number, now = this.#options.now()): void {
    this.#roll(now);
    this.#used += amount;
    this.#untold += amount;
    if (this.#options.addShared === undefined || this.#asking !== undefined) return;
    if (this.#isDue(now)) this.#ask(now);
  }

  /** A block is used up, or a second has passed; a store that was down is left alone for that second. */
  #isDue(now: number): boolean {
    if (this.#isSecondOver(now)) return true;
    return !this.#hasFailed && this.#untold >= this.#block;
  }

  /** Also where the clock was put back: by an hour, nobody would be asked for as long. */
  #isSecondOver(now: number): boolean {
    return Math.abs(now - this.#askedAt) >= 1_000;
  }

  /** Learns what the others used where it has not asked for a second; not awaited on a call's path. */
  refresh(now = this.#options.now()): void {
    this.#roll(now);
    if (this.#options.addShared === undefined || this.#asking !== undefined || !this.#isSecondOver(now)) return;
    this.#ask(now);
  }

  /** Settles when the question that is under way has been answered; for tests and for closing. */
  async settled(): Promise<void> {
    while (this.#asking !== undefined) await this.#asking;
  }

  #ask(now: number): void {
    const { key, windowMs, addShared, onStoreError } = this.#options;
    const window = this.#window;
    const told = this.#untold;
    this.#untold = 0;
    this.#askedAt = now;
    this.#asking = addShared!(`${key}/${window}`, told, 2 * windowMs)
      .then(
        (total) => {
          this.#hasFailed = false;
          // The window may have passed while we asked.
          if (window === this.#window) this.#used = total + this.#untold;
        },
        (error: unknown) => {
          this.#hasFailed = true;
          if (window === this.#window) this.#untold += told;
          onStoreError?.(error);
        },
      )
      .finally(() => {
        this.#asking = undefined;
        const again = this.#options.now();
        if (window === this.#window && this.#untold > 0 && this.#isDue(again)) this.#ask(again);
      });
  }
}
