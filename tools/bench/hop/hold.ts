import { once } from 'node:events';
import { createServer, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { createRandom } from '../../../sandbox/server.ts';

/** A function that writes what it is told, for the measurement of what is kept back between it and its caller. */
export interface Source {
  url: string;
  /** A call by `url` that has begun. */
  open(url: string): Promise<Stream>;
  close(): Promise<void>;
}

export interface Stream {
  write(bytes: number): void;
  /** Of these, how many have come to the caller by now. */
  received(): number;
  hasHead(): boolean;
  close(): void;
}

export async function startSource(): Promise<Source> {
  /** By the path of the call. */
  const begun = new Map<string, (res: ServerResponse) => void>();
  const server = createServer((req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
    begun.get(req.url!)!(res);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async open(url) {
      const path = `/${begun.size}`;
      const began = Promise.withResolvers<ServerResponse>();
      begun.set(path, began.resolve);
      let received = 0;
      let hasHead = false;
      const call = request(url + path, { headers: { Accept: 'application/json' }, agent: false }, (answer) => {
        hasHead = true;
        answer
          .on('error', () => {})
          .on('data', (chunk: Buffer) => {
            received += chunk.length;
          });
      });
      call.on('error', began.reject).end();
      const res = await began.promise;
      return {
        write: (bytes) => void res.write(Buffer.alloc(bytes, ' ')),
        received: () => received,
        hasHead: () => hasHead,
        close: () => call.destroy(),
      };
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Waits until nothing more comes. */
async function settle(stream: Stream) {
  for (let before = -1; before !== stream.received(); ) {
    before = stream.received();
    await wait(4);
  }
}

/** The most bytes of `total` that are on their way at rest, when they are written in pieces of `step`. */
export async function mostKeptBack(source: Source, url: string, { step = 64, total = 48_000 } = {}): Promise<number> {
  const stream = await source.open(url);
  let most = 0;
  for (let sent = step; sent <= total; sent += step) {
    stream.write(step);
    await settle(stream);
    most = Math.max(most, sent - stream.received());
  }
  stream.close();
  return most;
}

/**
 * How often, of `trials` in one stream, a pad of so many bytes brought an event out that was written before it, with up to
 * 8 KB of other events of 50 to 450 bytes in front of that one. A pad that does not is given up after `patienceMs`.
 */
export async function pushed(
  source: Source,
  url: string,
  padBytes: number,
  trials: number,
  patienceMs = 60,
): Promise<number> {
  const random = createRandom(padBytes);
  const stream = await source.open(url);
  let sent = 0;
  let through = 0;
  const write = (bytes: number) => {
    stream.write(bytes);
    sent += bytes;
  };
  for (let trial = 0; trial < trials; trial += 1) {
    for (let before = random() * 8_000; before > 0; ) {
      const bytes = 50 + Math.floor(random() * 400);
      before -= bytes;
      write(bytes);
      if (random() < 0.3) await wait(0);
    }
    const wanted = sent;
    write(padBytes);
    const deadline = performance.now() + patienceMs;
    while (stream.received() < wanted && performance.now() < deadline) await wait(2);
    if (stream.received() >= wanted) through += 1;
  }
  stream.close();
  return through;
}

/** The smallest pad, in steps of 1 KiB, that brought the event out in each of `trials`. */
export async function smallestPad(source: Source, url: string, trials: number): Promise<number> {
  for (let bytes = 2_048; bytes <= 64 * 1_024; bytes += 1_024) {
    if ((await pushed(source, url, bytes, trials)) === trials) return bytes;
  }
  return Number.POSITIVE_INFINITY;
}
