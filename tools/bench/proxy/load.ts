import { connect, type Socket } from 'node:net';

/** One request, ready to send; the same bytes each time. */
export function toRequest(path: string, headers: Record<string, string>, body: Buffer): Buffer {
  const lines = Object.entries({ ...headers, 'Content-Length': String(body.length) }).map((pair) => pair.join(': '));
  return Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\nHost: bench\r\n${lines.join('\r\n')}\r\n\r\n`), body]);
}

export interface Timing {
  ms: number;
  /** To the first byte of the body. */
  firstByteMs: number;
}

const lastChunk = Buffer.from('\r\n0\r\n\r\n');

/**
 * A kept connection that reads no more of an answer than where it ends, so that the load costs little beside what it
 * measures. Bodies of unknown length end with the last chunk; the benchmark's own never hold its bytes.
 */
export class Caller {
  readonly #port: number;
  #socket: Socket | undefined;
  #head = '';
  /** Bytes of the body still to come, or undefined where it is chunked. */
  #left: number | undefined;
  #tail: Buffer = Buffer.alloc(0);
  #startedAt = 0;
  #firstByteAt = 0;
  #done: ((timing: Timing) => void) | undefined;
  #failed: ((error: Error) => void) | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  /** Throws when the answer is no 200 or the connection ends before it does. */
  call(request: Buffer): Promise<Timing> {
    this.#head = '';
    this.#firstByteAt = 0;
    this.#tail = Buffer.alloc(0);
    return new Promise((resolve, reject) => {
      this.#done = resolve;
      this.#failed = reject;
      this.#startedAt = performance.now();
      this.#socket ??= this.#open();
      this.#socket.write(request);
    });
  }

  close() {
    this.#failed = undefined;
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #open(): Socket {
    const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = undefined;
      this.#end(new Error('The connection ended before the answer did'));
    });
    return socket;
  }

  #end(error?: Error) {
    const done = this.#done;
    const failed = this.#failed;
    this.#done = undefined;
    this.#failed = undefined;
    const now = performance.now();
    if (error === undefined) done?.({ ms: now - this.#startedAt, firstByteMs: this.#firstByteAt - this.#startedAt });
    else failed?.(error);
  }

  #take(chunk: Buffer) {
    let rest = chunk;
    if (this.#firstByteAt === 0) {
      this.#head += chunk.toString('latin1');
      const end = this.#head.indexOf('\r\n\r\n');
      if (end < 0) return;
      if (!this.#head.startsWith('HTTP/1.1 200')) {
        const [status] = this.#head.split('\r\n', 1);
        this.#end(new Error(`Answered ${status}`));
        return this.close();
      }
      const length = /\r\ncontent-length: *(\d+)/i.exec(this.#head.slice(0, end));
      this.#left = length === null ? undefined : Number(length[1]);
      rest = Buffer.from(this.#head.slice(end + 4), 'latin1');
      this.#head = this.#head.slice(0, end + 4);
      if (rest.length === 0) return;
      this.#firstByteAt = performance.now();
    }
    if (this.#left === undefined) {
      this.#tail = rest.length >= 7 ? rest.subarray(-7) : Buffer.concat([this.#tail, rest]).subarray(-7);
      if (this.#tail.equals(lastChunk)) this.#end();
    } else {
      this.#left -= rest.length;
      if (this.#left <= 0) this.#end();
    }
  }
}

export interface LoadResult {
  perSecond: number;
  count: number;
  timings: Timing[];
}

/** `connections` callers, each with one call at a time, until `count` calls or `ms` are over. Rejects on any failure. */
export async function load(
  port: number,
  request: Buffer,
  {
    connections,
    ms = Number.POSITIVE_INFINITY,
    count = Number.POSITIVE_INFINITY,
  }: { connections: number; ms?: number; count?: number },
): Promise<LoadResult> {
  const startedAt = performance.now();
  const timings: Timing[] = [];
  let started = 0;
  const callers = Array.from({ length: connections }, () => new Caller(port));
  try {
    await Promise.all(
      callers.map(async (caller) => {
        while (started < count && performance.now() - startedAt < ms) {
          started += 1;
          timings.push(await caller.call(request));
        }
      }),
    );
  } finally {
    for (const caller of callers) caller.close();
  }
  const seconds = (performance.now() - startedAt) / 1000;
  return { perSecond: timings.length / seconds, count: timings.length, timings };
}

/** The smallest value that `share` of the values do not exceed. */
export function quantile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
