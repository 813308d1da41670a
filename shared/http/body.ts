import type { Readable } from 'node:stream';
import { HttpError } from '../errors.ts';
import type { FunctionEvent } from './function.ts';

export const defaultMaxBodyBytes = 1024 * 1024;

/**
 * Collects a body, counting bytes as they come: behind OpenFaaS there is no Content-Length to trust.
 * Throws HttpError 413 `body_too_large`.
 */
export async function readBytes(body: Readable, maxBytes = defaultMaxBodyBytes): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
    size += bytes.length;
    if (size > maxBytes) {
      throw new HttpError(413, `The request body is larger than ${maxBytes} bytes`, { code: 'body_too_large' });
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

export async function readText(event: FunctionEvent, maxBytes?: number): Promise<string> {
  return (await readBytes(event.body, maxBytes)).toString('utf8');
}

/** Any content type is read as JSON: cron-connector and many webhooks send none. Throws HttpError 400 `invalid_json`. */
export async function readJson(event: FunctionEvent, maxBytes?: number): Promise<unknown> {
  const text = await readText(event, maxBytes);
  try {
    return JSON.parse(text);
  } catch {
    const what = text.trim() === '' ? 'is empty' : 'is not valid JSON';
    throw new HttpError(400, `The request body ${what}: send a JSON object`, { code: 'invalid_json' });
  }
}
