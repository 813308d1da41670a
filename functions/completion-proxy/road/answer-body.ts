import { Readable } from 'node:stream';

/** What fills an answer; told when the caller takes more, and when the caller is gone. */
export interface AnswerSource {
  resume(): void;
  callerLeft(): void;
}

/** The body that the caller gets. It may begin before there is a backend to fill it: with the comments of a ping. */
export class AnswerBody extends Readable {
  source: AnswerSource | undefined;
  /** Its last byte is in it. */
  isWhole = false;
  /** The caller takes less than comes. */
  isFull = false;

  constructor() {
    super({ highWaterMark: 64 * 1024 });
  }

  /** Returns whether the caller keeps up. */
  add(chunk: Buffer | string): boolean {
    this.isFull = !this.push(chunk);
    return !this.isFull;
  }

  finish(): void {
    this.isWhole = true;
    this.push(null);
  }

  override _read() {
    this.isFull = false;
    this.source?.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void) {
    if (!this.isWhole) this.source?.callerLeft();
    callback(error);
  }
}
