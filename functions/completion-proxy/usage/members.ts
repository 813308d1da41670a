import { scanMembers } from '../routing/request-scan.ts';

type Members = Record<string, unknown>;

/** Short ones, of which an answer tells itself. */
const names = ['id', 'model', 'status', 'stop_reason', 'done_reason', 'usage', 'prompt_eval_count', 'eval_count'];

function read(bytes: Buffer, start: number, end: number): unknown {
  try {
    return JSON.parse(bytes.toString('utf8', start, end));
  } catch {
    return undefined;
  }
}

/** The members that we read, from the beginning of a JSON object that goes on. */
export function membersAtStart(bytes: Buffer): Members {
  const members: Members = {};
  scanMembers(bytes, names).spans.forEach((span, index) => {
    if (span !== undefined) members[names[index]!] = read(bytes, span.start, span.end);
  });
  return members;
}

const quote = 0x22;
const colon = 0x3a;
const comma = 0x2c;
const isOpening = (byte: number) => byte === 0x7b || byte === 0x5b;
const isClosing = (byte: number) => byte === 0x7d || byte === 0x5d;

/** Where the string begins whose closing quote stands at `end`, or -1 where it begins before the bytes. */
function stringStart(bytes: Buffer, end: number): number {
  for (let at = end; at > 0; ) {
    at = bytes.lastIndexOf(quote, at - 1);
    if (at < 0) return -1;
    let escapes = 0;
    while (bytes[at - 1 - escapes] === 0x5c) escapes += 1;
    // At the very beginning of the bytes a quote may be an escaped one: it is not told apart, and nothing is before it.
    if (escapes % 2 === 0) return at;
  }
  return -1;
}

/**
 * The members that we read, from the end of a JSON object whose beginning is not there; with a `depth` of 2, of the objects
 * in it. Read backwards, so that nothing which stands deeper, in what a model said or in a tool's arguments, is taken for
 * one of them. undefined where the object does not end with the bytes.
 */
export function membersAtEnd(bytes: Buffer, depth: 1 | 2): Members | undefined {
  let at = bytes.length - 1;
  while (at >= 0 && bytes[at]! <= 0x20) at -= 1;
  if (bytes[at] !== 0x7d) return undefined;
  const members: Members = {};
  let level = 0;
  /** Behind the value that is gone through; its name comes after it. */
  let end = at;
  let valueAt = -1;
  for (; at >= 0; at -= 1) {
    const byte = bytes[at]!;
    if (byte === quote) {
      const start = stringStart(bytes, at);
      if (start < 0) break;
      if (level === depth && valueAt >= 0) {
        const name = String(read(bytes, start, at + 1));
        // The last one counts, as with JSON.parse.
        if (names.includes(name) && !(name in members)) members[name] = read(bytes, valueAt, end);
        valueAt = -1;
      }
      at = start;
    } else if (isClosing(byte)) {
      level += 1;
      if (level === depth) end = at;
    } else if (isOpening(byte)) level -= 1;
    else if (level === depth && byte === comma) end = at;
    else if (level === depth && byte === colon) valueAt = at + 1;
  }
  return members;
}
