import { type Span, scanMembers } from './request-scan.ts';

const wish = Buffer.from('{"include_usage":true}');

const replace = (bytes: Buffer, { start, end }: Span, by: Buffer) =>
  Buffer.concat([bytes.subarray(0, start), by, bytes.subarray(end)]);

/** An object with one more member at its front; `start` is its opening brace. */
function withFirst(bytes: Buffer, start: number, member: string): Buffer {
  let next = start + 1;
  while (bytes[next] === 0x20 || bytes[next] === 0x0a || bytes[next] === 0x0d || bytes[next] === 0x09) next += 1;
  const text = bytes[next] === 0x7d ? member : `${member},`;
  return replace(bytes, { start: start + 1, end: start + 1 }, Buffer.from(text));
}

/**
 * The body of a streamed chat completion or completion, asking for the usage at the end of the stream; undefined where the
 * caller asks for it, or where the body is not what we can read. Everything else stays byte for byte.
 */
export function withStreamUsage(bytes: Buffer): Buffer | undefined {
  const { spans, ambiguous } = scanMembers(bytes, ['stream_options']);
  const [options] = spans;
  if (ambiguous) return undefined;
  if (options === undefined) {
    const start = bytes.indexOf(0x7b);
    return start < 0 ? undefined : withFirst(bytes, start, `"stream_options":${wish.toString()}`);
  }
  if (bytes.toString('latin1', options.start, options.end) === 'null') return replace(bytes, options, wish);
  if (bytes[options.start] !== 0x7b) return undefined;
  const inner = bytes.subarray(options.start, options.end);
  const found = scanMembers(inner, ['include_usage']);
  const [asked] = found.spans;
  if (found.ambiguous) return undefined;
  if (asked === undefined) return withFirst(bytes, options.start, '"include_usage":true');
  const value = inner.toString('latin1', asked.start, asked.end);
  if (value !== 'false' && value !== 'null') return undefined;
  const span = { start: options.start + asked.start, end: options.start + asked.end };
  return replace(bytes, span, Buffer.from('true'));
}
