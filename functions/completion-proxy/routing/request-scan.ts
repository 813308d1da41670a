/** Where a value stands in a body; `end` is exclusive. */
export interface Span {
  start: number;
  end: number;
}

const quote = 0x22;
const backslash = 0x5c;
const isSpace = (byte: number | undefined) => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/** The index after the string that begins at `start`, or -1 where the bytes end in it. */
function skipString(bytes: Buffer, start: number): number {
  let at = start + 1;
  for (;;) {
    // Most strings are short; a call of indexOf pays for the long ones only.
    const near = Math.min(at + 24, bytes.length);
    while (at < near && bytes[at] !== quote) at += 1;
    if (bytes[at] !== quote) at = bytes.indexOf(quote, at);
    if (at < 0) return -1;
    let escapes = 0;
    while (bytes[at - 1 - escapes] === backslash) escapes += 1;
    at += 1;
    if (escapes % 2 === 0) return at;
  }
}

/** The index after the value that begins at `start`, or -1 where the bytes end in it. */
function skipValue(bytes: Buffer, start: number): number {
  const first = bytes[start];
  if (first === quote) return skipString(bytes, start);
  let depth = 0;
  for (let at = start; at < bytes.length; ) {
    const byte = bytes[at];
    if (byte === quote) {
      at = skipString(bytes, at);
      if (at < 0) return -1;
      continue;
    }
    if (byte === 0x7b || byte === 0x5b) depth += 1;
    else if (byte === 0x7d || byte === 0x5d) {
      if (depth === 0) return at;
      depth -= 1;
      if (depth === 0) return at + 1;
    } else if (depth === 0 && (byte === 0x2c || isSpace(byte))) return at;
    at += 1;
  }
  return -1;
}

/** Long names are none that we look for; one with an escape is read as JSON reads it. */
export function readName(bytes: Buffer, start: number, end: number): string {
  if (end - start > 64) return '';
  const text = bytes.toString('latin1', start + 1, end - 1);
  if (!text.includes('\\')) return text.toLowerCase();
  try {
    return String(JSON.parse(`"${text}"`)).toLowerCase();
  } catch {
    return '';
  }
}

/**
 * Where the values of some members of a JSON object stand, without parsing it: its strings are jumped over. Names are
 * compared without case, as servers written in Go do. `ambiguous` tells of a name that stands there twice: which one
 * counts depends on the reader, so that nobody can be held to a limit by it.
 */
export function scanMembers(
  bytes: Buffer,
  names: readonly string[],
): { spans: (Span | undefined)[]; ambiguous: boolean } {
  const spans: (Span | undefined)[] = new Array(names.length).fill(undefined);
  let ambiguous = false;
  let at = 0;
  while (isSpace(bytes[at])) at += 1;
  if (bytes[at] !== 0x7b) return { spans, ambiguous };
  at += 1;
  while (at < bytes.length) {
    while (isSpace(bytes[at]) || bytes[at] === 0x2c) at += 1;
    if (bytes[at] !== quote) break;
    const nameEnd = skipString(bytes, at);
    if (nameEnd < 0) break;
    const index = names.indexOf(readName(bytes, at, nameEnd));
    at = nameEnd;
    while (isSpace(bytes[at]) || bytes[at] === 0x3a) at += 1;
    const end = skipValue(bytes, at);
    if (end < 0) break;
    if (index >= 0) {
      ambiguous ||= spans[index] !== undefined;
      spans[index] = { start: at, end };
    }
    at = end;
  }
  return { spans, ambiguous };
}

export interface RequestScan {
  model?: string | undefined;
  /** Where the model's name stands, quotes included where it is JSON. */
  modelSpan?: Span | undefined;
  isJson: boolean;
  /** undefined: the body does not say, and the path's default counts. */
  stream?: boolean | undefined;
  /** Whom the call is for, as the caller says: `user`, or Anthropic's `metadata.user_id`. */
  endUser?: string | undefined;
  ambiguous: boolean;
}

const wanted: readonly string[] = ['model', 'stream', 'user', 'metadata'];

/** Whether this name, in lower case, may stand in a body once. */
export const isScanned = (name: string) => wanted.includes(name);

// Nothing in it that JSON would read as anything else.
const plain = /^[ !#-[\]-~]*$/;

/** A short string of the body; undefined for anything else. */
function readText(bytes: Buffer, span: Span | undefined): string | undefined {
  if (span === undefined || bytes[span.start] !== quote || span.end - span.start >= 1_024) return undefined;
  const text = bytes.toString('utf8', span.start + 1, span.end - 1);
  if (plain.test(text)) return text;
  try {
    return JSON.parse(`"${text}"`) as string;
  } catch {
    // The backend says what it thinks of such a body.
    return undefined;
  }
}

function readEndUser(bytes: Buffer, user: Span | undefined, metadata: Span | undefined): string | undefined {
  if (user !== undefined || metadata === undefined) return readText(bytes, user);
  const inner = bytes.subarray(metadata.start, metadata.end);
  return readText(inner, scanMembers(inner, ['user_id']).spans[0]);
}

function scanJson(bytes: Buffer): RequestScan {
  const { spans, ambiguous } = scanMembers(bytes, wanted);
  const [modelSpan, streamSpan, user, metadata] = spans;
  const scan: RequestScan = { isJson: true, ambiguous };
  if (streamSpan !== undefined) scan.stream = bytes[streamSpan.start] === 0x74;
  scan.model = readText(bytes, modelSpan);
  if (scan.model !== undefined) scan.modelSpan = modelSpan;
  if (user !== undefined || metadata !== undefined) scan.endUser = readEndUser(bytes, user, metadata);
  return scan;
}

// In every way that a parser of forms may read it; `filename` is another name.
const modelField = /(?<![\w-])name(?:\*\s*=\s*[\w-]*'[\w-]*'|\s*=\s*"?)model(?=[^\w-])/gi;

export const countModelFields = (text: string) => text.match(modelField)?.length ?? 0;

/** A form field of an upload, as the audio routes have it. */
function scanMultipart(bytes: Buffer): RequestScan {
  const text = bytes.toString('latin1');
  const scan: RequestScan = { isJson: false, ambiguous: countModelFields(text) > 1 };
  const name = text.search(/(?<![\w-])name="model"/);
  const head = name < 0 ? -1 : bytes.indexOf('\r\n\r\n', name);
  const end = head < 0 ? -1 : bytes.indexOf('\r\n', head + 4);
  if (end < 0 || end - head > 1_024) return scan;
  scan.modelSpan = { start: head + 4, end };
  scan.model = bytes.toString('utf8', head + 4, end);
  return scan;
}

const nothing: RequestScan = { isJson: false, ambiguous: false };

/** What a model's route needs to know of its body. Any content type but a form is tried as JSON: some clients send none. */
export function scanRequest(bytes: Buffer, contentType = ''): RequestScan {
  if (bytes.length === 0) return nothing;
  return contentType.startsWith('multipart/') ? scanMultipart(bytes) : scanJson(bytes);
}

/** The body with another model's name in it; everything else byte for byte. */
export function withModel(bytes: Buffer, { modelSpan, isJson }: RequestScan, model: string): Buffer {
  if (modelSpan === undefined) return bytes;
  const name = Buffer.from(isJson ? JSON.stringify(model) : model);
  return Buffer.concat([bytes.subarray(0, modelSpan.start), name, bytes.subarray(modelSpan.end)]);
}
