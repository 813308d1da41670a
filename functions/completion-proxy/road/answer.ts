import { Readable } from 'node:stream';

/** What fills an answer; told when the caller takes more, and when the caller is gone. */
export interface AnswerSource {
  resume(): void;
  callerLeft(): void;
}

const highWaterMark = 64 * 1024;
const nothing = Buffer.alloc(0);

class AnswerStream extends Readable {
  readonly #answer: Answer;

  constructor(answer: Answer) {
    super({ highWaterMark });
    this.#answer = answer;
  }

  override _read() {
    this.#answer.isFull = false;
    this.#answer.source?.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void) {
    this.#answer.isDestroyed = true;
    if (!this.#answer.isWhole) this.#answer.source?.callerLeft();
    callback(error);
  }
}

/**
 * The body that the caller gets. It may begin before there is a backend to fill it, with the comments of a ping. One that
 * is whole when it is taken, as most that are not streamed, is its bytes and no stream: that saves a tenth of a call.
 */
export class Answer {
  source: AnswerSource | undefined;
  /** Its last byte is in it. */
  isWhole = false;
  /** The caller takes less than comes. */
  isFull = false;
  isDestroyed = false;
  #error: Error | undefined;
  #mustStream = false;
  #early: Buffer[] = [];
  #earlyBytes = 0;
  #stream: AnswerStream | undefined;

  /** All that is in it has gone to the caller's connection, which takes more. */
  get isTaken(): boolean {
    return !this.isFull && this.#stream?.readableLength === 0 && !this.#stream.isPaused();
  }

  /** Returns whether the caller keeps up. */
  add(chunk: Buffer): boolean {
    if (this.#stream !== undefined) this.isFull = !this.#stream.push(chunk);
    else {
      this.#early.push(chunk);
      this.#earlyBytes += chunk.length;
      this.isFull = this.#earlyBytes >= highWaterMark;
    }
    return !this.isFull;
  }

  /** `mustStream`: what has trailers, or came without a length, goes on the same way. */
  finish(mustStream = true): void {
    this.isWhole = true;
    this.#mustStream = mustStream;
    this.#stream?.push(null);
  }

  /** Cuts it off, visibly. */
  destroy(error: Error): void {
    this.isDestroyed = true;
    this.#error = error;
    this.#stream?.destroy(error);
  }

  /** Once. */
  take(): Readable | Buffer {
    const early = this.#early;
    this.#early = [];
    if (this.isWhole && !this.#mustStream && !this.isDestroyed) {
      return early.length === 1 ? early[0]! : early.length === 0 ? nothing : Buffer.concat(early);
    }
    const stream = new AnswerStream(this);
    this.#stream = stream;
    for (const chunk of early) this.isFull = !stream.push(chunk);
    if (this.#error !== undefined) stream.destroy(this.#error);
    else if (this.isWhole) stream.push(null);
    return stream;
  }
}
