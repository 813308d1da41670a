import type { Answer } from './answer.ts';

/**
 * What makes the buffers of Go's net/http let go of all that came before: of one hop it is 4 KiB and what is written at a
 * time (2 KiB); of several in a row each write of more than 10 KiB goes through every one of them, less 2 KiB a hop that
 * may travel apart. Measured by `npm run bench -- stream`.
 */
export const padBytes = 16 * 1024;
const lineBytes = 1_024;

/** Comment lines, which every reader of event streams skips; short, since some readers have a longest line. */
export const pad = Buffer.from(
  `${`:${' '.repeat(lineBytes - 2)}\n`.repeat(padBytes / lineBytes - 1)}:${' '.repeat(lineBytes - 3)}\n\n`,
);

/** Data waits so long for more of it, which then shares its pad: a first chunk that has only the role. */
const gatherMs = 50;
const restMs = 250;

/** The one value for which watchdog, provider and gateway all pass chunks on as they come. */
export const flowsThroughEveryHop = (accept: string | undefined) => accept === 'text/event-stream';

/** The index after the last empty line that is whole in `chunk`; 0 for none. */
function lastBoundary(chunk: Buffer): number {
  const [plain, crlf] = [chunk.lastIndexOf('\n\n'), chunk.lastIndexOf('\r\n\r\n')];
  return Math.max(plain < 0 ? 0 : plain + 2, crlf < 0 ? 0 : crlf + 4);
}

/**
 * Pushes an event stream through hops that keep it back: after what was written comes a pad, at most four times a second,
 * and none into silence, into the middle of an event, or to a caller who takes less than comes.
 */
export class Padding {
  readonly #answer: Answer;
  readonly #isAtBoundary: () => boolean;
  readonly #count: (bytes: number) => void;
  /** Something was written after the last pad. */
  #isOwed = false;
  /** Its time came in the middle of an event: the next boundary takes it, inside a chunk as well. */
  #isDue = false;
  #isStopped = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(answer: Answer, isAtBoundary: () => boolean, count: (bytes: number) => void) {
    this.#answer = answer;
    this.#isAtBoundary = isAtBoundary;
    this.#count = count;
  }

  /** Into the answer, with what is due behind the event that ends in it. Returns whether the caller keeps up. */
  pass(chunk: Buffer): boolean {
    const answer = this.#answer;
    const end = this.#isDue && answer.isTaken ? lastBoundary(chunk) : 0;
    this.#isOwed = end < chunk.length;
    if (end > 0) {
      answer.add(chunk.subarray(0, end));
      this.#pad();
    } else if (this.#timer === undefined && !this.#isStopped) this.#arm(gatherMs);
    return end < chunk.length ? answer.add(chunk.subarray(end)) : !answer.isFull;
  }

  stop(): void {
    this.#isStopped = true;
    this.#isDue = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #pad() {
    this.#isDue = false;
    this.#answer.add(pad);
    this.#count(pad.length);
    this.#arm(restMs);
  }

  #arm(ms: number) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(Padding.#look, ms, this).unref();
  }

  static #look(padding: Padding) {
    padding.#timer = undefined;
    const answer = padding.#answer;
    if (!padding.#isOwed || answer.isDestroyed || answer.isWhole) return;
    const { isTaken } = answer;
    if (isTaken && padding.#isAtBoundary()) {
      padding.#isOwed = false;
      padding.#pad();
    } else {
      padding.#isDue = isTaken;
      padding.#arm(restMs);
    }
  }
}
