import { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

// A caller with a body that is too large may send this much more than twice the limit before the connection ends.
const droppedBytes = 1024 * 1024;

export type Refusal = 'too-large' | 'too-slow';

export interface BodyLimits {
  maxBytes: number;
  /** Silence in the middle of a body, in ms, after which it is refused as `too-slow`; 0 is never. */
  idleMs: number;
}

/**
 * The request, with three rules of its own: bytes are counted as they come (there is no Content-Length behind OpenFaaS), a
 * caller who stops sending does not hold its call for ever, and a body that its reader gives up on takes no answer with it
 * (Node would end the connection).
 */
export function createRequestClass({ maxBytes, idleMs }: BodyLimits) {
  return class CountedRequest extends IncomingMessage {
    #received = 0;
    #idleTimer: NodeJS.Timeout | undefined;
    #onRefused: ((reason: Refusal) => void) | undefined;
    // Node sets `socket` to null when the reader of a request leaves its loop.
    readonly #connection: Socket;

    constructor(socket: Socket) {
      super(socket);
      this.#connection = socket;
    }

    /**
     * Tells once of a body that is refused. Watches one that does not come with its head: most do, and are whole by the
     * next tick.
     */
    watchBody(onRefused: (reason: Refusal) => void): void {
      this.#onRefused = onRefused;
      if (idleMs > 0) process.nextTick(CountedRequest.#watch, this);
    }

    static #watch(request: CountedRequest) {
      const isHere = request.complete || request.#received === Number(request.headers['content-length']);
      if (!isHere && !request.destroyed) {
        request.#idleTimer = setTimeout(CountedRequest.#onIdle, idleMs, request);
      }
    }

    static #onIdle(request: CountedRequest) {
      // There is no room for more: whoever reads the body is the slow one.
      if (request.readableLength >= request.readableHighWaterMark) request.#idleTimer?.refresh();
      else request.#refuse('too-slow');
    }

    #refuse(reason: Refusal) {
      const tell = this.#onRefused;
      this.#onRefused = undefined;
      tell?.(reason);
    }

    override push(chunk: Buffer | null, encoding?: BufferEncoding): boolean {
      if (chunk === null) {
        clearTimeout(this.#idleTimer);
        return super.push(chunk);
      }
      this.#idleTimer?.refresh();
      this.#received += chunk.length;
      if (this.#received > maxBytes && !this.destroyed) {
        this.#refuse('too-large');
        this.destroy(new Error(`The request body is larger than ${maxBytes} bytes`));
      }
      // What nobody wants is read and dropped, so that the caller can finish and see the answer; but not for ever.
      if (this.#received > 2 * maxBytes + droppedBytes) this.#connection.destroy();
      return this.destroyed ? true : super.push(chunk, encoding);
    }

    override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
      // As Node has it: an error that nobody listens for is not thrown.
      process.nextTick(() => callback(this.listenerCount('error') === 0 ? null : error));
    }
  };
}
