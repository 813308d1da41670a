import type { StreamForm } from '../road/stream-end.ts';
import type { Dialect } from '../routing/llm-route.ts';
import { plainJson, redactText } from './redact.ts';

/** What is kept of prompts and answers: their beginning, without what the patterns match. */
export interface ContentRule {
  maxBytes: number;
  redact: readonly RegExp[];
}

/** Read beyond the limit, so that what a pattern matches across it is not kept by half. */
export const overlapBytes = 1_024;

/** Around the few words of an event stand a hundred bytes that are the same each time. */
const streamFactor = 16;
const maxStreamBytes = 1024 * 1024;

/** So much of an answer is held while it passes. */
export function answerBytes({ maxBytes }: ContentRule, isStream: boolean): number {
  const bytes = maxBytes + overlapBytes;
  return isStream ? Math.max(bytes, Math.min(bytes * streamFactor, maxStreamBytes)) : bytes;
}

/** Without what the patterns match, and then cut. */
export function keepText(text: string, { maxBytes, redact }: ContentRule): string {
  const bounded = text.slice(0, maxBytes + overlapBytes);
  const redacted = redactText(bounded, redact);
  const bytes = Buffer.from(redacted);
  // Half a character at the cut is left out.
  return bytes.length <= maxBytes ? redacted : bytes.toString('utf8', 0, maxBytes).replace(/\ufffd+$/, '');
}

type Json = Record<string, unknown>;
const object = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});

const list = (value: unknown) => (Array.isArray(value) ? value : []);

/** What an event says, each piece under the name of what it goes on with. */
function piecesOf(dialect: Dialect, event: Json): [of: string, piece: unknown][] {
  if (dialect === 'ollama') {
    const message = object(event.message);
    const calls = list(message.tool_calls).map((call) => JSON.stringify(call));
    return [
      ['thinking', event.thinking ?? message.thinking],
      ['text', event.response ?? message.content],
      ['calls', calls.join('')],
    ];
  }
  if (dialect === 'anthropic') {
    const { text, thinking, partial_json: input } = object(event.delta);
    return [[`${event.index}`, object(event.content_block).name ?? text ?? thinking ?? input]];
  }
  // Of an answer that is repeated in its last event.
  if (dialect === 'responses') {
    const isDelta = String(event.type).endsWith('.delta');
    return [[`${event.type} ${event.output_index} ${event.content_index}`, isDelta ? event.delta : undefined]];
  }
  return list(event.choices).flatMap((each, at): [string, unknown][] => {
    const choice = object(each);
    const delta = object(choice.delta);
    const index = choice.index ?? at;
    const calls = list(delta.tool_calls).map((call): [string, unknown] => {
      const { name = '', arguments: input = '' } = object(object(call).function) as Record<string, string>;
      return [`${index} call ${object(call).index}`, `${name}${input}`];
    });
    return [
      [`${index} thinking`, delta.reasoning_content ?? delta.reasoning],
      [`${index}`, choice.text ?? delta.content ?? delta.refusal],
      ...calls,
    ];
  });
}

/**
 * The words of a streamed answer, and what its tools were called with: a pattern finds nothing in pieces of three letters.
 * An answer of which nothing is understood is kept as it came.
 */
export function readStreamText(dialect: Dialect, form: StreamForm, raw: string): string {
  const words = new Map<string, string>();
  for (const line of raw.split(/\r\n|\n|\r/)) {
    const part = form === 'ndjson' ? line : line.startsWith('data:') ? line.slice(5) : '';
    try {
      const pieces = part === '' ? [] : piecesOf(dialect, object(JSON.parse(part)));
      for (const [of, piece] of pieces) {
        if (typeof piece === 'string' && piece !== '') words.set(of, (words.get(of) ?? '') + piece);
      }
    } catch {
      // [DONE], or cut at the limit.
    }
  }
  return words.size === 0 ? plainJson(raw) : [...words.values()].join('\n');
}
