import { type StreamForm, streamFormOf } from './stream-end.ts';

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

/** undici gives fields as bytes; latin1 keeps each of them. */
export const toStrings = (raw: unknown): string[] =>
  Array.isArray(raw) ? raw.map((part) => (part as Buffer).toString('latin1')) : [];

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
