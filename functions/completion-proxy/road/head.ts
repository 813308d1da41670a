import { type StreamForm, streamFormOf } from './stream-end.ts';

/** Beyond it, two of undici's buffers only look like one. */
const maxHead = 128 * 1024;

/** What a backend says before its body. */
export interface AnswerHead {
  readonly status: number;
  /** Name, value, name, value. */
  readonly rawHeaders: string[];
  /** Content-Length, where it sent one. */
  readonly length: number | undefined;
  readonly form: StreamForm | undefined;
  readonly retryAfter: string | undefined;
}

/**
 * undici gives fields as bytes; latin1 keeps each of them. They are pieces of what it read from the socket, mostly of one
 * chunk: that is read as one text and cut, since a text of its own for each costs twice as much.
 */
export function toStrings(raw: unknown): string[] {
  if (!Array.isArray(raw) || raw.length === 0) return [];
  const parts = raw as Buffer[];
  const { buffer, byteOffset: start } = parts[0]!;
  const last = parts[parts.length - 1]!;
  const end = last.byteOffset + last.length;
  const isWhole = last.buffer === buffer && end > start && end - start <= maxHead;
  const head = isWhole ? Buffer.from(buffer, start, end - start).toString('latin1') : '';
  return parts.map((part) => {
    const from = part.byteOffset - start;
    const isWithin = isWhole && part.buffer === buffer && from >= 0 && from + part.length <= head.length;
    return isWithin ? head.slice(from, from + part.length) : part.toString('latin1');
  });
}

export function readHead(
  status: number,
  raw: unknown,
  headers: Record<string, string | string[] | undefined>,
): AnswerHead {
  const length = headers['content-length'];
  return {
    status,
    rawHeaders: toStrings(raw),
    length: length === undefined ? undefined : Number(length),
    form: streamFormOf(headers['content-type'] as string, headers['content-encoding'] as string),
    retryAfter: headers['retry-after'] as string | undefined,
  };
}

/** Of an answer that gets shorter on its way. */
export function withoutLength(head: AnswerHead): AnswerHead {
  const { rawHeaders: raw } = head;
  const rawHeaders = raw.filter((_, index) => raw[index & ~1]!.toLowerCase() !== 'content-length');
  return { ...head, rawHeaders, length: undefined };
}
