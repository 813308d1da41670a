import { Readable } from 'node:stream';
import type { FunctionResponse } from '#shared/http/function.ts';

const heartbeatMs = 15_000;
/** A follower who does not read is let go. */
const maxHeldBytes = 1024 * 1024;

/** Sends a value as JSON in an event; without a name it is a `message`. */
export type SendEvent = (value: unknown, name?: string) => void;

/** Gets what sends and what ends the stream; returns what stops it. */
export type BeginStream = (send: SendEvent, end: () => void) => () => void;

interface StreamShape {
  contentType: string;
  opening: string;
  /** Between two values that are far apart; nothing where the form has no comments. */
  heartbeat: string;
  write(value: unknown, name: string | undefined): string;
}

const events: StreamShape = {
  contentType: 'text/event-stream',
  opening: ': following\n\n',
  heartbeat: ': ping\n\n',
  write: (value, name) => `${name === undefined ? '' : `event: ${name}\n`}data: ${JSON.stringify(value)}\n\n`,
};
// An empty line is no value; readers of lines skip it.
const lines: StreamShape = {
  contentType: 'application/x-ndjson',
  opening: '',
  heartbeat: '\n',
  write: (value) => `${JSON.stringify(value)}\n`,
};

function stream(shape: StreamShape, signal: AbortSignal, begin: BeginStream): FunctionResponse {
  const body = new Readable({ read() {} });
  let isEnded = false;
  const write = (piece: string) => {
    if (body.destroyed || isEnded || piece === '') return;
    if (body.readableLength > maxHeldBytes) body.destroy();
    else body.push(piece);
  };
  write(shape.opening);
  const heartbeat = setInterval(write, heartbeatMs, shape.heartbeat).unref();
  const stop = begin(
    (value, name) => write(shape.write(value, name)),
    () => {
      isEnded = true;
      body.push(null);
    },
  );
  body.once('close', () => {
    stop();
    clearInterval(heartbeat);
  });
  if (signal.aborted) body.destroy();
  signal.addEventListener('abort', () => body.destroy(), { once: true });
  return {
    status: 200,
    headers: { 'Content-Type': shape.contentType, 'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no' },
    body,
  };
}

/**
 * An event stream that ends when the follower leaves, or stops reading; between events there is a comment every 15 s.
 */
export const streamEvents = (signal: AbortSignal, begin: BeginStream) => stream(events, signal, begin);

/** The same as lines of JSON; between them there is an empty line every 15 s. */
export const streamLines = (signal: AbortSignal, begin: BeginStream) => stream(lines, signal, begin);
