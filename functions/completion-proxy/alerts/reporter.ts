import type { Logger } from '#shared/log.ts';
import { redactText } from '../records/redact.ts';
import { type ErrorLine, type NoticeFrame, toNotice } from './notice.ts';

export interface ReporterOptions {
  /** Posts one notice; resolves with the id that Honeybadger gave it. */
  post: (notice: unknown) => Promise<string | undefined>;
  /** Posts while the process dies: nothing else runs until it is done. */
  postNow: (notice: unknown) => void;
  frame: NoticeFrame;
  redact: readonly RegExp[];
  /** For what goes wrong here; never the one whose lines come here. */
  log: Logger;
  now: () => number;
}

/** A backend that is down makes an error of every call: so many notices a minute, and the next one tells the rest. */
const maxPerMinute = 20;
const rememberedMs = 60_000;

/**
 * Sends lines of the log as notices: each error once, though several lines tell of it, so many a minute at most, and
 * never waiting for it.
 */
export function createReporter({ post, postNow, frame, redact, log, now }: ReporterOptions) {
  const seen = new Map<string, number>();
  const underWay = new Set<Promise<unknown>>();
  let minute = 0;
  let sentInMinute = 0;
  let notSent = 0;
  let isDown = false;

  function isNew(line: ErrorLine): boolean {
    const { time: _, error, msg, ...fields } = line;
    // The same error is told by the call that failed and by the process that dies of it.
    const key = error?.stack === undefined ? JSON.stringify([msg, error, fields]) : `${line.call_id} ${error.stack}`;
    for (const [old, at] of seen) {
      if (now() - at < rememberedMs && seen.size < 1_000) break;
      seen.delete(old);
    }
    if (seen.has(key) || (error?.stack !== undefined && seen.has(error.stack))) return false;
    seen.set(key, now());
    if (error?.stack !== undefined) seen.set(error.stack, now());
    return true;
  }

  function hasRoom(): boolean {
    const current = Math.floor(now() / 60_000);
    if (current !== minute) sentInMinute = 0;
    minute = current;
    sentInMinute += 1;
    if (sentInMinute <= maxPerMinute) return true;
    notSent += 1;
    return false;
  }

  /** In texts only: a pattern that matches digits or quotes would leave no JSON of the line. */
  function redacted(value: unknown): unknown {
    if (typeof value === 'string') return redactText(value, redact);
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map(redacted);
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, redacted(each)]));
  }

  function prepare(text: string): unknown {
    const { time, level, ...rest } = JSON.parse(text) as ErrorLine;
    const notice = toNotice(
      { time, level, ...(redacted(rest) as Omit<ErrorLine, 'time' | 'level'>) } as ErrorLine,
      frame,
      notSent,
    );
    notSent = 0;
    return notice;
  }

  return {
    /** One line of JSON. */
    take(text: string): void {
      if (!isNew(JSON.parse(text) as ErrorLine) || !hasRoom()) return;
      const sending = post(prepare(text)).then(
        () => {
          isDown = false;
        },
        (error: unknown) => {
          if (!isDown) log.warn('Honeybadger does not take notices', { error });
          isDown = true;
        },
      );
      underWay.add(sending);
      void sending.finally(() => underWay.delete(sending));
    },
    /** The process dies of this one. */
    takeLast(text: string): void {
      if (isNew(JSON.parse(text) as ErrorLine)) postNow(prepare(text));
    },
    /** Sends one and tells its id; rejects where it was not taken. */
    prove: (text: string) => post(prepare(text)),
    async close(): Promise<void> {
      await Promise.all(underWay);
    },
  };
}

export type Reporter = ReturnType<typeof createReporter>;
