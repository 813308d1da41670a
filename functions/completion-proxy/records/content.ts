import type { StreamForm } from '../road/stream-end.ts';
import type { Dialect } from '../routing/llm-route.ts';

/** What is kept of prompts and answers: their beginning, without what the patterns match. */
export interface ContentRule {
  maxBytes: number;
  redact: readonly RegExp[];
}

/** Read beyond the limit, so that what a pattern matches across it is not kept by half. */
export const overlapBytes = 1_024;

/** Without what the patterns match, and then cut. */
export function keepText(text: string, { maxBytes, redact }: ContentRule): string {
  const bounded = text.slice(0, maxBytes + overlapBytes);
  const redacted = redact.reduce((left, pattern) => left.replace(pattern, '[redacted]'), bounded);
  const bytes = Buffer.from(redacted);
  // Half a character at the cut is left out.
  return bytes.length <= maxBytes ? redacted : bytes.toString('utf8', 0, maxBytes).replace(/\ufffd+$/, '');
}

type Json = Record<string, unknown>;
const object = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});

function textOf(dialect: Dialect, event: Json): unknown {
  if (dialect === 'ollama') return event.response ?? object(event.message).content;
  if (dialect === 'anthropic') return object(event.delta).text;
  if (dialect === 'responses') return event.type === 'response.output_text.delta' ? event.delta : undefined;
  const choice = object((event.choices as unknown[] | undefined)?.[0]);
  return choice.text ?? object(choice.delta).content;
}

/**
 * The words of a streamed answer: a pattern finds nothing in pieces of three letters. An answer without words (a call of
 * a tool, say) is kept as it came.
 */
export function readStreamText(dialect: Dialect, form: StreamForm, raw: string): string {
  let words = '';
  for (const line of raw.split(/\r\n|\n|\r/)) {
    const part = form === 'ndjson' ? line : line.startsWith('data:') ? line.slice(5) : '';
    try {
      const piece = part === '' ? undefined : textOf(dialect, object(JSON.parse(part)));
      if (typeof piece === 'string') words += piece;
    } catch {
      // [DONE], or cut at the limit.
    }
  }
  return words === '' ? raw : words;
}
