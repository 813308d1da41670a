import type { Readable } from 'node:stream';
import { UpstreamError } from '#shared/errors.ts';

/** A request's body: whole, so that it can be sent again, or its beginning and the stream that begins with it. */
export type KeptBody = { whole: Buffer } | { head: Buffer; stream: Readable };

/**
 * Reads a body up to `limit` bytes. A longer one is put back, and its stream gives every byte. Rejects with
 * UpstreamError aborted when the caller leaves, and with the body's own error (one that is too large).
 */
export function keepBody(body: Readable, limit: number, contentLength?: string): KeptBody | Promise<KeptBody> {
  return takeWhole(body, limit, Number(contentLength)) ?? collect(body, limit);
}

/** A short body came with its head: it is there by now, and nothing has to be waited for. */
function takeWhole(body: Readable, limit: number, length: number): KeptBody | undefined {
  if (
    !(length > 0) ||
    body.readableLength !== length ||
    length > limit ||
    body.readableFlowing !== null ||
    body.destroyed
  )
    return undefined;
  return { whole: body.read() as Buffer };
}

function collect(body: Readable, limit: number): Promise<KeptBody> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const onData = (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes <= limit) return;
      release();
      body.pause();
      const head = Buffer.concat(chunks);
      body.unshift(head);
      resolve({ head, stream: body });
    };
    const onEnd = () => {
      release();
      resolve({ whole: chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks) });
    };
    const onError = (error: Error) => {
      release();
      reject(error);
    };
    const onClose = () => {
      release();
      reject(new UpstreamError('The backend', 'aborted', 'the caller left before the end of its body'));
    };
    const release = () => {
      body.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
    };
    body.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
  });
}
