import { UpstreamError } from '#shared/errors.ts';

/** Who is stopped when time is over. */
export interface Timed {
  /** The silence is the caller's, who does not take what is there. */
  readonly isPaused: boolean;
  stop(error: UpstreamError): void;
}

/** The time-outs of one attempt: one for silence, which begins anew with each chunk, and one for the whole. */
export class Patience {
  readonly #timed: Timed;
  #detail = 'no first byte in time';
  #silence: NodeJS.Timeout | undefined;
  #whole: NodeJS.Timeout | undefined;

  constructor(timed: Timed) {
    this.#timed = timed;
  }

  /** In ms, 0 is no limit. */
  begin(firstByteMs: number, totalMs: number): void {
    this.#arm(firstByteMs);
    if (totalMs > 0) this.#whole = setTimeout(Patience.#end, totalMs, this, 'the whole answer took too long');
  }

  /** From now on it is the time between two chunks that counts. */
  expectNext(idleMs: number): void {
    this.#detail = 'no next chunk in time';
    this.#arm(idleMs);
  }

  heard(): void {
    this.#silence?.refresh();
  }

  clear(): void {
    clearTimeout(this.#silence);
    clearTimeout(this.#whole);
  }

  #arm(ms: number) {
    clearTimeout(this.#silence);
    this.#silence = ms > 0 ? setTimeout(Patience.#expire, ms, this) : undefined;
  }

  static #expire(patience: Patience) {
    if (patience.#timed.isPaused) patience.#silence?.refresh();
    else Patience.#end(patience, patience.#detail);
  }

  static #end(patience: Patience, detail: string) {
    patience.#timed.stop(new UpstreamError('The backend', 'timeout', detail));
  }
}
