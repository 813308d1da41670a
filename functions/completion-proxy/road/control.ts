import type { Dispatcher } from 'undici';
import { UpstreamError } from '#shared/errors.ts';
import type { BackendTimeouts } from '../backends/backend.ts';
import { callerIsGone } from './failure.ts';

/** Of an answer that nobody gets: more costs more than a new connection. */
const maxSkipped = 64 * 1024;

/** Whose request it is; told when that is stopped before it had a connection. */
export interface Controlled {
  onResponseError(controller: undefined, error: Error): void;
}

/**
 * What one attempt has in hand of its request: it holds it up, lets it go on, and stops it. Two time-outs stop it as well:
 * one for silence, which begins anew with each chunk, and one for the whole.
 */
export class Control {
  readonly #controlled: Controlled;
  readonly #timeouts: BackendTimeouts;
  #controller: Dispatcher.DispatchController | undefined;
  #stopped: UpstreamError | undefined;
  /** The silence is the caller's, who does not take what is there. */
  #isPaused = false;
  /** Bytes of the rest that is read for nothing. */
  #skipped = 0;
  #silence: NodeJS.Timeout | undefined;
  #detail = 'no first byte in time';
  #whole: NodeJS.Timeout | undefined;

  constructor(controlled: Controlled, timeouts: BackendTimeouts) {
    this.#controlled = controlled;
    this.#timeouts = timeouts;
  }

  /** Why it was stopped, where it was. */
  get stopped(): UpstreamError | undefined {
    return this.#stopped;
  }

  begin(): void {
    const { firstByteMs, totalMs } = this.#timeouts;
    this.#arm(firstByteMs);
    if (totalMs > 0) this.#whole = setTimeout(Control.#end, totalMs, this, 'the whole answer took too long');
  }

  /** It has a connection. */
  take(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#stopped !== undefined) controller.abort(this.#stopped);
  }

  /** Ends the backend's work. What waits for a connection has no controller yet and is stopped when it gets one. */
  stop(error: UpstreamError): void {
    this.#stopped = error;
    if (this.#controller === undefined) this.#controlled.onResponseError(undefined, error);
    else this.#controller.abort(error);
  }

  pause(): void {
    this.#isPaused = true;
    this.#controller?.pause();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.heard();
    this.#controller?.resume();
  }

  /** A short rest is read for nothing, so that the connection can be used again; a long one is cut. */
  readOut(length: number | undefined): void {
    this.#skipped = 0;
    if (length === undefined || length > maxSkipped) this.stop(callerIsGone());
    else this.resume();
  }

  /** One chunk of that rest. */
  skip(chunk: Buffer): void {
    this.#skipped += chunk.length;
    if (this.#skipped > maxSkipped) this.stop(callerIsGone());
  }

  /** From now on it is the time between two chunks that counts. */
  expectNext(): void {
    this.#detail = 'no next chunk in time';
    this.#arm(this.#timeouts.idleMs);
  }

  heard(): void {
    this.#silence?.refresh();
  }

  /** It is over: no time-out stops it any more. */
  release(): void {
    clearTimeout(this.#silence);
    clearTimeout(this.#whole);
  }

  /** 0 is no limit. */
  #arm(ms: number) {
    clearTimeout(this.#silence);
    this.#silence = ms > 0 ? setTimeout(Control.#expire, ms, this) : undefined;
  }

  static #expire(control: Control) {
    if (control.#isPaused) control.#silence?.refresh();
    else Control.#end(control, control.#detail);
  }

  static #end(control: Control, detail: string) {
    control.stop(new UpstreamError('The backend', 'timeout', detail));
  }
}
