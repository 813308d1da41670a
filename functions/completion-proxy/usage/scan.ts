import type { StreamForm } from '../road/stream-end.ts';
import type { Dialect } from '../routing/llm-route.ts';
import { membersAtEnd, membersAtStart } from './members.ts';
import { laterTokens, type Tokens, toTokens } from './tokens.ts';

/** What an answer tells of itself. */
export interface Told {
  /** The answer's own id. */
  id?: string;
  /** The model that answered. */
  model?: string;
  tokens?: Tokens;
  finishReason?: string;
  /** The backend told an error inside a stream of status 200. */
  isFailed: boolean;
}

type Json = Record<string, unknown>;
const object = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});
const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value.slice(0, 200) : undefined);

/** Reads one JSON object of an answer: an event's data, a line, or the whole body. */
function readObject(told: Told, dialect: Dialect, parsed: unknown): void {
  const body = object(parsed);
  // /v1/responses wraps the answer, and so does the first event of /v1/messages.
  const answer = object(body.response ?? body.message ?? body);
  told.id ??= text(answer.id) as string;
  told.model ??= (text(answer.model) ?? text(body.model)) as string;
  const choice = Array.isArray(body.choices) ? object(body.choices[0]) : {};
  // Moonshot tells it in the choice, Groq in a member of its own.
  const usage = dialect === 'ollama' ? body : (answer.usage ?? body.usage ?? choice.usage ?? object(body.x_groq).usage);
  const tokens = laterTokens(told.tokens, toTokens(dialect, usage));
  if (tokens !== undefined) told.tokens = tokens;
  const reason =
    text(choice.finish_reason) ??
    text(object(body.delta).stop_reason) ??
    text(body.stop_reason) ??
    text(body.done_reason);
  if (reason !== undefined) told.finishReason = reason;
  const status = dialect === 'responses' && body.response !== undefined ? text(answer.status) : undefined;
  if (status !== undefined && status !== 'in_progress' && status !== 'queued') told.finishReason = status;
  if (body.error !== undefined && body.error !== null && body.error !== false) told.isFailed = true;
  if (body.type === 'error' || body.type === 'response.failed') told.isFailed = true;
}

const LF = 0x0a;
const CR = 0x0d;
/** Of a line that is longer, somebody's picture, only the end is read: the usage stands behind what it counts. */
const maxLine = 1024 * 1024;
const endBytes = 64 * 1024;

// In JSON a quote inside a text is escaped, so that none of these needles can stand in what a model said. None begins with
// a quote: JSON is full of them, and the search would stop at each.
const needles: Record<Dialect, string[]> = {
  chat: ['usage":{', 'usage": {', 'error"', 'finish_reason":"', 'finish_reason": "'],
  responses: ['usage":{', 'usage": {', 'error"', 'response.failed"'],
  anthropic: ['usage":{', 'usage": {', 'error"'],
  ollama: ['done":true', 'done": true', 'error"'],
  other: [],
};

/** So much is looked at in one go: a search costs more to begin than to go through some kilobytes. */
const blockBytes = 8 * 1024;

/**
 * Reads what a streamed answer tells, while its chunks pass untouched: whole lines only, and of those only the first, which
 * names the answer, and the ones that hold a needle. Chunks may be cut anywhere.
 */
class StreamScan {
  readonly told: Told = { isFailed: false };
  readonly #dialect: Dialect;
  readonly #needles: string[];
  #rest: Buffer[] = [];
  #restBytes = 0;
  /** Bytes that are waited for; more than a block while a line is longer. */
  #wanted = blockBytes;
  #isTooLong = false;
  #isNamed = false;

  constructor(dialect: Dialect) {
    this.#dialect = dialect;
    this.#needles = needles[dialect];
  }

  note(chunk: Buffer): void {
    this.#rest.push(chunk);
    this.#restBytes += chunk.length;
    if (this.#restBytes >= this.#wanted) this.#readBlock();
  }

  #readBlock(): void {
    const block = Buffer.concat(this.#rest);
    const end = Math.max(block.lastIndexOf(LF), block.lastIndexOf(CR)) + 1;
    if (end > 0) this.#read(block.subarray(0, end));
    else if (block.length > maxLine) this.#isTooLong = true;
    const rest = this.#isTooLong ? Buffer.from(block.subarray(-endBytes)) : block.subarray(end);
    this.#rest = [rest];
    this.#restBytes = rest.length;
    // Twice as far each time, so that no byte of a long line is gone through more than a few times.
    this.#wanted = Math.max(blockBytes, 2 * rest.length);
  }

  #read(block: Buffer): void {
    const lines = this.#isTooLong ? this.#readLongLine(block) : block;
    this.#isTooLong = false;
    if (!this.#isNamed) {
      const at = lines.indexOf(0x7b);
      this.#isNamed = at >= 0;
      if (at >= 0) this.#readLineAt(lines, at);
    }
    // Line by line, since a later count stands for an earlier one.
    const next = this.#needles.map((needle) => lines.indexOf(needle));
    for (;;) {
      const at = Math.min(...next.filter((place) => place >= 0));
      if (at === Number.POSITIVE_INFINITY) return;
      const end = this.#readLineAt(lines, at);
      this.#needles.forEach((needle, index) => {
        if (next[index]! >= 0 && next[index]! < end) next[index] = lines.indexOf(needle, end);
      });
    }
  }

  /** Reads what stands at the end of a line that was too long to be kept; returns what follows it. */
  #readLongLine(block: Buffer): Buffer {
    const end = lineEnd(block, 0);
    this.#readEnd(block.subarray(0, end));
    return block.subarray(end + 1);
  }

  #readEnd(line: Buffer): void {
    const end = line.subarray(-endBytes);
    // /v1/responses wraps the answer.
    if (this.#dialect !== 'responses') readObject(this.told, this.#dialect, membersAtEnd(end, 1));
    else readObject(this.told, this.#dialect, { response: membersAtEnd(end, 2) });
  }

  /** Reads the line around `at`; returns where it ends. */
  #readLineAt(lines: Buffer, at: number): number {
    const start = Math.max(lines.lastIndexOf(LF, at), lines.lastIndexOf(CR, at)) + 1;
    const end = lineEnd(lines, at);
    const from = lines.indexOf(0x7b, start);
    if (from < 0 || from >= end) return end;
    if (end - from > maxLine) {
      this.#readEnd(lines.subarray(from, end));
      return end;
    }
    try {
      readObject(this.told, this.#dialect, JSON.parse(lines.toString('utf8', from, end)));
    } catch {
      // Not ours to judge: the caller gets the line as it is.
    }
    return end;
  }

  /** A last line without its end, as NDJSON may have. */
  end(): Told {
    if (this.#restBytes > 0) this.#read(Buffer.concat(this.#rest));
    this.#restBytes = 0;
    this.#rest = [];
    return this.told;
  }
}

function lineEnd(lines: Buffer, from: number): number {
  const lf = lines.indexOf(LF, from);
  const cr = lines.indexOf(CR, from);
  if (lf < 0 || cr < 0) return lf < 0 && cr < 0 ? lines.length : Math.max(lf, cr);
  return Math.min(lf, cr);
}

const wholeBytes = 64 * 1024;

/** Keeps a short JSON answer, and of a long one its beginning and its end, until it has ended. */
class BodyScan {
  readonly #dialect: Dialect;
  #head: Buffer[] = [];
  #headBytes = 0;
  #tail: Buffer[] = [];
  #tailBytes = 0;
  #hasGap = false;

  constructor(dialect: Dialect) {
    this.#dialect = dialect;
  }

  note(chunk: Buffer): void {
    if (this.#headBytes < wholeBytes) {
      this.#head.push(chunk);
      this.#headBytes += chunk.length;
      return;
    }
    this.#tail.push(chunk);
    this.#tailBytes += chunk.length;
    while (this.#tailBytes - this.#tail[0]!.length >= wholeBytes) {
      this.#tailBytes -= this.#tail.shift()!.length;
      this.#hasGap = true;
    }
  }

  end(): Told {
    const told: Told = { isFailed: false };
    if (this.#hasGap) {
      // Embeddings and pictures are megabytes: the names stand at the beginning or the end, the usage at one of them.
      readObject(told, this.#dialect, membersAtStart(Buffer.concat(this.#head)));
      readObject(told, this.#dialect, membersAtEnd(Buffer.concat(this.#tail), 1));
    } else {
      const all = [...this.#head, ...this.#tail];
      try {
        const bytes = all.length === 1 ? all[0]! : Buffer.concat(all);
        readObject(told, this.#dialect, JSON.parse(bytes.toString('utf8')));
      } catch {
        // Not ours to judge.
      }
    }
    return told;
  }
}

export interface UsageScan {
  note(chunk: Buffer): void;
  /** What was told until now; after the last chunk. */
  end(): Told;
}

/**
 * A scan for an answer of this form (`body`: one JSON text); undefined where there is nothing to read. `told` of a stream
 * that broke off is what came before.
 */
export function createUsageScan(dialect: Dialect, form: StreamForm | 'body'): UsageScan | undefined {
  if (dialect === 'other') return undefined;
  return form === 'body' ? new BodyScan(dialect) : new StreamScan(dialect);
}
