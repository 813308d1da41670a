const LF = 0x0a;
const CR = 0x0d;
const isBreak = (byte: number | undefined) => byte === LF || byte === CR;
/** An event that is longer is none that we hide. */
const maxHeld = 64 * 1024;
const emptyChoices = ['"choices":[]', '"choices": []'];
/** Where this is not, they are not. */
const emptyArray = Buffer.from('[]');
const nothing = Buffer.alloc(0);

/** The index after the last blank line, or 0. */
function lastBoundary(bytes: Buffer): number {
  for (let end = bytes.length; end > 1; end -= 1) {
    if (!isBreak(bytes[end - 1])) continue;
    // CRLF is one break.
    const before = bytes[end - 1] === LF && bytes[end - 2] === CR ? end - 3 : end - 2;
    if (isBreak(bytes[before])) return end;
  }
  return 0;
}

const endsEvent = (bytes: Buffer) => bytes[bytes.length - 1] === LF && bytes[bytes.length - 2] === LF;

/** The index after the first blank line from `start`, or the end. */
function nextBoundary(bytes: Buffer, start: number): number {
  for (let at = start; at < bytes.length; at += 1) {
    if (!isBreak(bytes[at])) continue;
    const next = bytes[at] === CR && bytes[at + 1] === LF ? at + 2 : at + 1;
    if (!isBreak(bytes[next])) continue;
    return bytes[next] === CR && bytes[next + 1] === LF ? next + 2 : next + 1;
  }
  return bytes.length;
}

/** The chunk that only tells the usage: no choice in it. Azure's first chunk has none either, and no usage. */
function isUsageEvent(event: string): boolean {
  // Before it is parsed: an exception for each [DONE] would cost more than the whole stream.
  if (!emptyChoices.some((needle) => event.includes(needle))) return false;
  const data = /^data:(.*)$/m.exec(event)?.[1];
  try {
    const { choices, usage } = JSON.parse(data ?? '') as { choices?: unknown; usage?: unknown };
    return Array.isArray(choices) && choices.length === 0 && typeof usage === 'object' && usage !== null;
  } catch {
    return false;
  }
}

/**
 * Takes the usage chunk out of an event stream whose caller did not ask for it. Whole events pass at once; only the
 * beginning of one, which no client can use yet, waits for its end. Chunks may be cut anywhere.
 */
export class UsageEventFilter {
  #held: Buffer = nothing;
  #isPassing = false;
  #skipsLineFeed = false;

  /** What the caller gets now; may be empty. */
  take(chunk: Buffer): Buffer {
    // Most chunks are whole events with nothing to hide.
    if (this.#isBetweenEvents() && endsEvent(chunk) && !chunk.includes(emptyArray)) return chunk;
    let bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    // The second half of the line break whose first half was hidden.
    if (this.#skipsLineFeed && bytes[0] === LF) bytes = bytes.subarray(1);
    if (bytes.length > 0) this.#skipsLineFeed = false;
    this.#held = nothing;
    const end = lastBoundary(bytes);
    let from = 0;
    if (this.#isPassing) {
      // The rest of an event whose beginning has gone.
      if (end === 0) return this.#pass(bytes);
      from = nextBoundary(bytes, 0);
      this.#isPassing = false;
    }
    if (bytes.length - end > maxHeld) {
      this.#isPassing = true;
      return Buffer.concat([bytes.subarray(0, from), this.#clean(bytes, from, end), bytes.subarray(end)]);
    }
    this.#held = bytes.subarray(end);
    const cleaned = this.#clean(bytes, from, end);
    return from === 0 ? cleaned : Buffer.concat([bytes.subarray(0, from), cleaned]);
  }

  #isBetweenEvents(): boolean {
    return this.#held.length === 0 && !this.#isPassing && !this.#skipsLineFeed;
  }

  /** A long event goes by; what may be half of its end stays, so that the end is seen. */
  #pass(bytes: Buffer): Buffer {
    let end = bytes.length;
    while (end > 0 && isBreak(bytes[end - 1])) end -= 1;
    this.#held = bytes.subarray(end);
    return bytes.subarray(0, end);
  }

  #clean(bytes: Buffer, from: number, end: number): Buffer {
    const whole = bytes.subarray(from, end);
    if (!whole.includes(emptyArray)) return whole;
    const kept: Buffer[] = [];
    for (let start = 0; start < whole.length; ) {
      const next = nextBoundary(whole, start);
      let first = start;
      // What is left of the line break before it belongs to that one.
      while (isBreak(whole[first])) first += 1;
      const event = whole.subarray(start, next);
      const isHidden = isUsageEvent(event.toString('utf8'));
      if (isHidden && next === whole.length) this.#skipsLineFeed = whole[next - 1] === CR;
      kept.push(isHidden ? whole.subarray(start, first) : event);
      start = next;
    }
    return Buffer.concat(kept);
  }

  /** The stream has ended: what is left of it, without the blank line that never came. */
  end(): Buffer {
    const held = this.#held;
    this.#held = nothing;
    return isUsageEvent(held.toString('utf8')) ? nothing : held;
  }
}
