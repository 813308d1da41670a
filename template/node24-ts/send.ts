import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { FunctionResponse, Logger } from './function/function.ts';

/** Name, value, name, value: the one form of node:http that keeps spelling, order and repeats. */
function toRawHeaders(headers: FunctionResponse['headers'] = {}): string[] {
  if (Array.isArray(headers)) {
    // flat() would take several times as long.
    const raw: string[] = [];
    for (const [name, value] of headers) raw.push(name, value);
    return raw;
  }
  return Object.entries(headers).flatMap(([name, value]) => {
    if (value === undefined) return [];
    return Array.isArray(value) ? value.flatMap((item) => [name, item]) : [name, String(value)];
  });
}

function hasHeader(raw: string[], wanted: string): boolean {
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index]!;
    if (name.length === wanted.length && name.toLowerCase() === wanted) return true;
  }
  return false;
}

/** Does nothing when the answer has begun: then there is no way left to say it. */
export function sendError(response: ServerResponse, status: number, error: string, code: string, callId: string) {
  if (response.headersSent || response.destroyed) return;
  const body = JSON.stringify({ error, code, call_id: callId });
  response
    .writeHead(status, {
      'Content-Type': 'application/json; charset=utf-8',
      'Content-Length': Buffer.byteLength(body),
      'X-Call-Id': callId,
    })
    .end(body);
}

/** Each chunk goes out as it comes. By hand: stream.pipeline doubles the CPU of a proxied call. */
function sendStream(response: ServerResponse, { body, trailers }: { body: Readable } & FunctionResponse, log: Logger) {
  const cut = (error: Error) => {
    log.error('the answer was cut: its body failed', { error });
    body.destroy();
    // Without the last chunk nobody takes a part for the whole.
    response.destroy();
  };
  body.on('data', (chunk) => {
    try {
      if (!response.write(chunk)) body.pause();
    } catch (error) {
      cut(error as Error);
    }
  });
  response.on('drain', () => body.resume());
  body.once('end', () => {
    try {
      if (trailers !== undefined) response.addTrailers(trailers());
      response.end();
    } catch (error) {
      cut(error as Error);
    }
  });
  body.on('error', (error) => {
    if (!response.destroyed) cut(error);
  });
  body.once('close', () => {
    if (!body.readableEnded && !response.destroyed) cut(new Error('the body was closed before its end'));
  });
  response.once('close', () => body.destroy());
}

/** With its head it fits what Node writes from its stack. */
const maxTextBytes = 15 * 1024;

/** Short bytes as a text of as many characters, which node:http sends in one write with the head: a tenth of a call less. */
function endWithBytes(response: ServerResponse, bytes: Uint8Array) {
  if (bytes.length > maxTextBytes) response.end(bytes);
  else response.end(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1'), 'latin1');
}

/** Throws what node:http throws for a bad status or header, before anything is sent. */
export function sendResponse(isHead: boolean, response: ServerResponse, result: FunctionResponse, log: Logger): void {
  const { status, body } = result;
  const stream = body instanceof Readable ? body : undefined;
  // The caller left, or was answered 413: nobody reads this any more.
  if (response.headersSent || response.destroyed) {
    stream?.on('error', () => {}).destroy();
    return;
  }
  const headers = toRawHeaders(result.headers);
  const hasBody = status !== 204 && status !== 304;
  if (stream === undefined && hasBody && !hasHeader(headers, 'content-length')) {
    headers.push('Content-Length', String(body === undefined ? 0 : Buffer.byteLength(body as string | Uint8Array)));
  }
  try {
    if (stream?.errored) throw stream.errored;
    response.writeHead(status, headers);
  } catch (error) {
    stream?.on('error', () => {}).destroy();
    throw error;
  }
  if (isHead || !hasBody) {
    stream?.on('error', () => {}).destroy();
    response.end();
  } else if (stream === undefined) {
    if (body instanceof Uint8Array) endWithBytes(response, body);
    else response.end(body as string | undefined);
  } else {
    // A chunk that is there already takes the head with it, in one write. Else the head goes alone, unless it has bytes
    // beyond ASCII: flushHeaders() writes UTF-8 and would spell them twice.
    if (stream.readableLength === 0 && !headers.some((text) => /[\u0080-\u00ff]/.test(text))) response.flushHeaders();
    sendStream(response, { ...result, body: stream }, log);
  }
}
