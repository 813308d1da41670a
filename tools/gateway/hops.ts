const writeBytes = 2_048;
const connectionBytes = 4_096;
const copyBytes = 32 * 1_024;
const lineBreak = Buffer.from('\r\n');
const nothing = Buffer.alloc(0);

/** A writer as Go's bufio has it: what does not fit fills it up first, and what comes when it is empty goes as it is. */
function createBufio(size: number, sink: (bytes: Buffer) => void) {
  let held = nothing;
  const flush = () => {
    const bytes = held;
    held = nothing;
    if (bytes.length > 0) sink(bytes);
  };
  return {
    write(bytes: Buffer) {
      let rest = bytes;
      while (rest.length > size - held.length) {
        if (held.length === 0) return sink(rest);
        const room = size - held.length;
        held = Buffer.concat([held, rest.subarray(0, room)]);
        rest = rest.subarray(room);
        flush();
      }
      held = Buffer.concat([held, rest]);
    },
    flush,
  };
}

/** An answer of Go's server that nobody flushes, in chunks as they go over the wire. */
function createServerWriter(sink: (wire: Buffer) => void) {
  const connection = createBufio(connectionBytes, sink);
  const chunks = createBufio(writeBytes, (bytes) => {
    connection.write(Buffer.from(`${bytes.length.toString(16)}\r\n`));
    connection.write(bytes);
    connection.write(lineBreak);
  });
  return {
    write: chunks.write,
    flush() {
      chunks.flush();
      connection.flush();
    },
  };
}

/**
 * What a copy loop of Go reads from such an answer: up to 32 KiB at a time, and in the middle of a chunk it waits for the
 * rest of it. `waits: false` is a reader that takes what there is.
 */
function createChunkReader(take: (bytes: Buffer) => void, waits: boolean) {
  let arrived = nothing;
  /** Of the chunk that is read. */
  let left = 0;
  let isAtEnd = false;
  let read = nothing;
  const give = () => {
    const bytes = read;
    read = nothing;
    if (bytes.length > 0) take(bytes);
  };
  /** False when it can only wait. */
  function step(): boolean {
    if (isAtEnd) {
      if (arrived.length < lineBreak.length) return false;
      arrived = arrived.subarray(lineBreak.length);
      isAtEnd = false;
    }
    if (left === 0) {
      const end = arrived.indexOf('\n');
      if (end < 0) return false;
      left = Number.parseInt(arrived.toString('latin1', 0, end), 16);
      arrived = arrived.subarray(end + 1);
    }
    const piece = arrived.subarray(0, Math.min(left, copyBytes - read.length));
    if (piece.length === 0) return false;
    arrived = arrived.subarray(piece.length);
    read = Buffer.concat([read, piece]);
    left -= piece.length;
    isAtEnd = left === 0;
    if (read.length === copyBytes) give();
    return true;
  }
  return (wire: Buffer) => {
    arrived = Buffer.concat([arrived, wire]);
    while (step());
    if (left === 0 || !waits) give();
  };
}

/**
 * So many hops in a row that copy an answer without a length and do not flush, as watchdog, provider and gateway do: one
 * keeps back about 4 KiB, several until 32 KiB or a large write. `take` gets what leaves the last one. Nobody flushes after
 * the first 512 bytes, as Go does where no program has wrapped its writer: less would be seen than here, never more.
 */
export function createHops(count: number, take: (bytes: Buffer) => void) {
  const flushes: (() => void)[] = [];
  let next = take;
  for (let hop = count; hop >= 1; hop -= 1) {
    const writer = createServerWriter(createChunkReader(next, hop < count));
    flushes.unshift(writer.flush);
    next = writer.write;
  }
  return {
    write: next,
    /** The answer has ended, at the first hop first. */
    end() {
      for (const flush of flushes) flush();
    },
  };
}
