import type { ServerResponse } from 'node:http';
import { parseDurationMs } from './duration.ts';
import { createHops } from './hops.ts';

/** What of-watchdog reads from a function's environment; its own defaults. */
export interface WatchdogSettings {
  /** 0 is off. */
  execTimeoutMs: number;
  writeTimeoutMs: number;
  /** 0 is off. */
  maxInflight: number;
  logCallId: boolean;
}

export function readWatchdogSettings(environment: Record<string, string>): WatchdogSettings {
  return {
    execTimeoutMs: parseDurationMs(environment.exec_timeout, 30_000),
    writeTimeoutMs: parseDurationMs(environment.write_timeout, 30_000),
    maxInflight: Number.parseInt(environment.max_inflight ?? '', 10) || 0,
    logCallId: environment.log_callid === 'true' || environment.log_callid === '1',
  };
}

/** The request's Accept decides, not the answer's type: only these two are passed on chunk by chunk. */
export function wantsStream(accept: string | undefined): boolean {
  const lower = (accept ?? '').toLowerCase();
  return lower.includes('text/event-stream') || lower.includes('application/x-ndjson');
}

/** exec_timeout, or the caller's X-Timeout where that is shorter; a stream has neither. */
export function deadlineMs(settings: WatchdogSettings, xTimeout: string | undefined, stream: boolean): number {
  if (stream) return 0;
  const asked = parseDurationMs(xTimeout, 0);
  return asked > 0 && (settings.execTimeoutMs === 0 || asked <= settings.execTimeoutMs)
    ? asked
    : settings.execTimeoutMs;
}

const connectionBufferBytes = 4_096;
const knownLengthBytes = 2_048;
const hopsOfFaasd = 3;

/**
 * Writes an answer that came without a length the way watchdog, provider and gateway pass it on when none of them flushes.
 * `head` is called once, with the length when the whole body is small enough for Go to know it.
 */
export function createHeldBackWriter(res: ServerResponse, head: (knownLength?: number) => void) {
  let size = 0;
  let begun = false;
  let keepsUp = true;
  const hops = createHops(hopsOfFaasd, (bytes) => {
    if (!begun) head();
    begun = true;
    keepsUp = res.write(bytes);
  });
  const first: Buffer[] = [];
  return {
    write(chunk: Buffer): boolean {
      size += chunk.length;
      if (size <= knownLengthBytes) first.push(chunk);
      keepsUp = true;
      hops.write(chunk);
      return keepsUp;
    },
    end() {
      if (size <= knownLengthBytes) {
        head(size);
        res.end(Buffer.concat(first));
        return;
      }
      hops.end();
      res.end();
    },
  };
}

/**
 * Writes an answer with a length the way Go's server does when nobody flushes: nothing leaves, not even the headers, before 4 KiB or
 * the end. `head` is called once, with the length when the whole body is small enough for Go to know it.
 * Resolves each write when the caller's connection can take more.
 */
export function createBufferedWriter(res: ServerResponse, head: (knownLength?: number) => void) {
  let held: Buffer[] = [];
  let size = 0;
  let begun = false;
  const begin = (knownLength?: number) => {
    if (!begun) head(knownLength);
    begun = true;
  };
  const take = () => {
    const piece = Buffer.concat(held);
    held = [];
    size = 0;
    return piece;
  };
  return {
    /** False when the caller should wait for `drain`. */
    write(chunk: Buffer): boolean {
      held.push(chunk);
      size += chunk.length;
      if (size < connectionBufferBytes) return true;
      begin();
      return res.write(take());
    },
    end() {
      begin(size <= knownLengthBytes ? size : undefined);
      res.end(take());
    },
  };
}
