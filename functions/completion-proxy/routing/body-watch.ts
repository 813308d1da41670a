import { Transform } from 'node:stream';
import { HttpError, UpstreamError } from '#shared/errors.ts';
import { countModelFields, isScanned, readName } from './request-scan.ts';

const quote = 0x22;
const backslash = 0x5c;
const maxName = 64;

/** Whether a part of a body, of which the parts before were shown, names something twice. */
export type Watch = (part: Buffer) => boolean;

/** Names at the top of a JSON object, part by part. Strings are jumped over: long ones are pictures. */
export function watchJson(): Watch {
  const seen = new Set<string>();
  let depth = 0;
  let isInString = false;
  /** The part before ended in the first half of an escape. */
  let isEscaped = false;
  let expectsName = false;
  let name: Buffer[] | undefined;

  /** Returns where the string ends, behind its quote, or the end of the part. */
  function skipString(part: Buffer, from: number): number {
    for (let at = from; ; ) {
      const end = part.indexOf(quote, at);
      const stop = end < 0 ? part.length : end;
      let escapes = 0;
      while (stop - 1 - escapes >= from && part[stop - 1 - escapes] === backslash) escapes += 1;
      // Those of the part before count where nothing stands between.
      if (stop - escapes === from && isEscaped) escapes += 1;
      const isOdd = escapes % 2 === 1;
      if (end < 0) {
        isEscaped = isOdd;
        return part.length;
      }
      if (!isOdd) {
        isInString = false;
        isEscaped = false;
        return end + 1;
      }
      // What is escaped is done with.
      isEscaped = false;
      at = end + 1;
      if (at >= part.length) return part.length;
    }
  }

  function isRepeated(): boolean {
    const bytes = Buffer.concat([Buffer.from('"'), ...name!]);
    name = undefined;
    const text = bytes.length > maxName ? '' : readName(bytes, 0, bytes.length);
    if (!isScanned(text)) return false;
    if (seen.has(text)) return true;
    seen.add(text);
    return false;
  }

  return (part) => {
    for (let at = 0; at < part.length; ) {
      if (isInString) {
        const end = skipString(part, at);
        name?.push(part.subarray(at, Math.min(end, at + maxName)));
        at = end;
        if (!isInString && name !== undefined && isRepeated()) return true;
        continue;
      }
      const byte = part[at]!;
      at += 1;
      if (byte === quote) {
        isInString = true;
        name = expectsName ? [] : undefined;
        expectsName = false;
      } else if (byte === 0x7b || byte === 0x5b) {
        depth += 1;
        expectsName = depth === 1 && byte === 0x7b;
      } else if (byte === 0x7d || byte === 0x5d) depth -= 1;
      else if (byte === 0x2c && depth === 1) expectsName = true;
    }
    return false;
  };
}

/** The fields of an upload; what stands across two parts is looked at with the later one. */
export function watchMultipart(): Watch {
  let before = '';
  let count = 0;
  return (part) => {
    const text = before + part.toString('latin1');
    count += countModelFields(text) - countModelFields(before);
    before = text.slice(-maxName);
    return count > 1;
  };
}

export const ambiguousBody = () =>
  new HttpError(400, 'The body names "model", "stream", "user" or "metadata" twice', { code: 'ambiguous_body' });

/**
 * Passes a body on that is too long to be looked through before it is sent, and breaks it off where it names the model a
 * second time: a caller who may not use that one would have been let in by the first.
 */
export function createBodyWatch(contentType = ''): Transform {
  const isRepeated = contentType.startsWith('multipart/') ? watchMultipart() : watchJson();
  return new Transform({
    transform(part: Buffer, _encoding, done) {
      if (!isRepeated(part)) return done(null, part);
      const error = new UpstreamError('The backend', 'invalid_response', 'its request was broken off');
      error.cause = ambiguousBody();
      done(error);
    },
  });
}
