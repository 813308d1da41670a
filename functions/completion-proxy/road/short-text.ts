import { isAscii } from 'node:buffer';
import type { Readable } from 'node:stream';

/** With its head it fits what Node writes from its stack. */
const maxBytes = 15 * 1024;
// biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII
const ascii = /^[\u0000-\u007f]*$/;

/**
 * A short body of ASCII as a string, which node:http sends as one text with its head: a tenth of a call less than two
 * pieces. Node writes that text as UTF-8, so that the head must be ASCII as well; any other body stays as it is.
 */
export function toShortText(body: Readable | Buffer, rawHeaders: readonly string[]): Readable | Buffer | string {
  if (!Buffer.isBuffer(body) || body.length > maxBytes || !isAscii(body)) return body;
  return rawHeaders.every((text) => ascii.test(text)) ? body.toString('latin1') : body;
}
