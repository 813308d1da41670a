import { Readable } from 'node:stream';
import type { FunctionResponse } from '#shared/http/function.ts';

const heartbeatMs = 15_000;
/** A follower who does not read is let go. */
const maxHeldBytes = 1024 * 1024;

/** Sends a value as JSON in an event; without a name it is a `message`. */
export type SendEvent = (value: unknown, name?: string) => void;

/**
 * An event stream that ends when the follower leaves, or stops reading. `begin` gets what sends and returns what stops it;
 * between events there is a comment every 15 s.
 */
export function streamEvents(signal: AbortSignal, begin: (send: SendEvent) => () => void): FunctionResponse {
  const body = new Readable({ read() {} });
  const write = (piece: string) => {
    if (body.destroyed) return;
    if (body.readableLength > maxHeldBytes) body.destroy();
    else body.push(piece);
  };
  write(': following\n\n');
  const stop = begin((value, name) => {
    write(`${name === undefined ? '' : `event: ${name}\n`}data: ${JSON.stringify(value)}\n\n`);
  });
  const heartbeat = setInterval(write, heartbeatMs, ': ping\n\n').unref();
  body.once('close', () => {
    stop();
    clearInterval(heartbeat);
  });
  if (signal.aborted) body.destroy();
  signal.addEventListener('abort', () => body.destroy(), { once: true });
  return {
    status: 200,
    headers: { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no' },
    body,
  };
}
