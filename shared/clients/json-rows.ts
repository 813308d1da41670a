import { isAscii } from 'node:buffer';

/** The bytes are no JSON array, or not a whole one. */
export class JsonRowsError extends Error {
  /** True where it ended early: what came before was right. */
  readonly isCut: boolean;

  constructor(message: string, isCut: boolean) {
    super(message);
    this.name = 'JsonRowsError';
    this.isCut = isCut;
  }
}

const [quote, backslash, comma] = [0x22, 0x5c, 0x2c];
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d];

const isSpace = (byte: number) => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/** How many bytes may wait for the next row's beginning before every one of them is looked at. */
const patienceBytes = 1024 * 1024;

/**
 * The elements of a JSON array of any length, in lists of as many as came together; memory holds one chunk and one row.
 * Only the ends of elements are looked for here, and V8's own JSON.parse reads them: a parser in JavaScript is several
 * times slower. Throws JsonRowsError, also where an element is longer than `maxRowBytes` (64 MiB by default).
 */
export async function* parseJsonRows(
  chunks: AsyncIterable<Uint8Array>,
  options: { maxRowBytes?: number } = {},
): AsyncGenerator<unknown[]> {
  const { maxRowBytes = 64 * 1024 * 1024 } = options;
  /** Bytes from the end of the last whole element on. */
  let held: Buffer = Buffer.alloc(0);
  let began = false;
  let guess: ((bytes: Buffer) => Guess) | undefined = createGuess();
  const scanner = createScanner();

  function* take(isLast: boolean): Generator<unknown[]> {
    if (!began) {
      const first = held.findIndex((byte) => !isSpace(byte));
      if (first === -1) return;
      if (held[first] !== openBracket) throw new JsonRowsError(`no array: ${held.toString('utf8', first, 200)}`, false);
      began = true;
      held = held.subarray(first + 1);
    }
    if (guess !== undefined && !isLast) {
      const { rows, end } = guess(held);
      if (end > 0) {
        held = held.subarray(end);
        yield rows;
        return;
      }
      if (rows.length === 0 && held.length < patienceBytes) return;
    }
    guess = undefined;
    const end = scanner.findEnd(held);
    const rows = parseElements(held.subarray(0, end));
    if (scanner.ended) {
      if (!held.subarray(end + 1).every(isSpace)) throw new JsonRowsError('something follows the array', false);
      held = held.subarray(held.length);
    } else if (end > 0) {
      held = held.subarray(end + 1);
      scanner.forget(end + 1);
    }
    if (rows.length > 0) yield rows;
    if (held.length > maxRowBytes) throw new JsonRowsError(`an element is longer than ${maxRowBytes} bytes`, false);
  }

  for await (const chunk of chunks) {
    if (scanner.ended) {
      if (!chunk.every(isSpace)) throw new JsonRowsError('something follows the array', false);
      continue;
    }
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    held = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
    yield* take(false);
  }
  if (!scanner.ended) yield* take(true);
  if (!scanner.ended) throw new JsonRowsError('the array does not end', true);
}

interface Guess {
  /** What stands before `end`. */
  rows: unknown[];
  /** Where the next element begins; 0 when no end was found. */
  end: number;
}

/**
 * Rows of one table begin alike (`{"request_id":`), so the last such beginning is most likely where one ends. Elements
 * that are valid JSON from a true beginning on end truly there, as nothing can be open; where they are not, the guess was
 * wrong and `rows` has one element to say so. It saves a look at each byte, which takes as long as parsing them.
 */
function createGuess(): (bytes: Buffer) => Guess {
  let border: Buffer | undefined;
  return (bytes) => {
    const wrong = { rows: [undefined], end: 0 };
    if (border === undefined) {
      const head = /^\{"[^"\\]+":/.exec(bytes.toString('latin1', 0, 200))?.[0];
      if (head === undefined) return bytes.length < 200 ? { rows: [], end: 0 } : wrong;
      border = Buffer.from(`},${head}`, 'latin1');
    }
    const at = bytes.lastIndexOf(border);
    if (at === -1) return { rows: [], end: 0 };
    try {
      return { rows: parseElements(bytes.subarray(0, at + 1)), end: at + 2 };
    } catch {
      return wrong;
    }
  };
}

/** Looks at each byte: strings, their escapes, and how deep it is. */
function createScanner() {
  let position = 0;
  let depth = 1;
  let inString = false;
  const scanner = {
    ended: false,
    /** Where the last whole element ends, exclusive, or the array; 0 without one. Goes on where it stopped. */
    findEnd(bytes: Buffer): number {
      let end = 0;
      let index = position;
      for (; index < bytes.length; index++) {
        const byte = bytes[index]!;
        if (inString) {
          if (byte === quote) inString = false;
          else if (byte === backslash) index++;
        } else if (byte === quote) inString = true;
        else if (byte === openBrace || byte === openBracket) depth++;
        else if (byte === closeBrace || byte === closeBracket) {
          depth--;
          if (depth === 0) {
            scanner.ended = true;
            return index;
          }
        } else if (byte === comma && depth === 1) end = index;
      }
      position = index;
      return end;
    },
    forget(bytes: number) {
      position -= bytes;
    },
  };
  return scanner;
}

function parseElements(bytes: Buffer): unknown[] {
  // Every byte of an ASCII text is its own character, and Latin-1 needs no decoding.
  const text = bytes.toString(isAscii(bytes) ? 'latin1' : 'utf8');
  try {
    return JSON.parse(`[${text}]`) as unknown[];
  } catch (error) {
    throw new JsonRowsError((error as Error).message, false);
  }
}
