import type { Dialect } from '../routing/llm-route.ts';

export type StreamForm = 'sse' | 'ndjson';

export const isCompressed = (contentEncoding: string | undefined) =>
  contentEncoding !== undefined && contentEncoding.toLowerCase() !== 'identity';

/** What an answer is made of; undefined is anything else, and whatever is compressed. */
export function streamFormOf(
  contentType: string | undefined,
  contentEncoding: string | undefined,
): StreamForm | undefined {
  if (contentType === undefined) return undefined;
  if (isCompressed(contentEncoding)) return undefined;
  if (/^text\/event-stream/i.test(contentType)) return 'sse';
  return /^application\/(x-)?(ndjson|jsonl)/i.test(contentType) ? 'ndjson' : undefined;
}

// A quote inside a JSON text is escaped, so that none of these can stand in what a model said.
const endings: Record<Dialect, RegExp | undefined> = {
  chat: /(?:^|[\r\n])data: ?(?:\[DONE\]|\{\s*"error")|"finish_reason"\s*:\s*"/,
  anthropic: /"type"\s*:\s*"(?:message_stop|error)"|"stop_reason"\s*:\s*"/,
  ollama: /"done"\s*:\s*true|(?:^|\n)\{\s*"error"/,
  responses: /"type"\s*:\s*"(?:response\.(?:completed|incomplete|failed)|error)"/,
  other: undefined,
};

const tailBytes = 4_096;
const needleBytes = 64;

/**
 * The end of a stream, kept to tell a whole answer from one that broke off. Chunks are looked at when the stream has
 * ended, not as they pass; only the last event of /v1/responses, which repeats the whole answer, is looked for as it comes.
 */
export class StreamEnd {
  readonly #dialect: Dialect;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #seen = false;
  #before = '';

  constructor(dialect: Dialect) {
    this.#dialect = dialect;
  }

  note(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    while (this.#bytes - this.#chunks[0]!.length >= tailBytes) this.#bytes -= this.#chunks.shift()!.length;
    if (this.#dialect !== 'responses' || this.#seen) return;
    const text = this.#before + chunk.toString('latin1');
    this.#seen = endings.responses!.test(text);
    this.#before = text.slice(-needleBytes);
  }

  #tail(): string {
    return Buffer.concat(this.#chunks).toString('latin1');
  }

  /** A terminator, a finish reason, or an error that the backend told by itself. */
  isComplete(): boolean {
    return this.#seen || (endings[this.#dialect]?.test(this.#tail()) ?? true);
  }

  /** Whether a new event or line may begin here. */
  isAtBoundary(form: StreamForm): boolean {
    const last = this.#chunks.at(-1);
    if (last === undefined) return true;
    const end = last.length >= 4 ? last.toString('latin1', last.length - 4) : this.#tail().slice(-4);
    return form === 'ndjson' ? end.endsWith('\n') : /(?:\n\n|\r\r|\r\n\r\n)$/.test(end);
  }
}

/** A piece of an event stream that says nothing: whole comment lines and empty ones. */
export function isCommentOnly(chunk: Buffer): boolean {
  const first = chunk[0];
  if (first !== 0x3a && first !== 0x0a && first !== 0x0d) return false;
  return chunk.length <= 4_096 && /^(?::[^\r\n]*(?:\r\n|\n|\r)|\r\n|\n|\r)+$/.test(chunk.toString('latin1'));
}
