import { isIP } from 'node:net';
import type { FunctionEvent } from '#shared/http/function.ts';

/** The last entries, oldest dropped first, bounded by number and by size: prompts can be long. */
export function createRing<Entry>(maxEntries: number, sizeOf: (entry: Entry) => number, maxSize = 8 * 1024 * 1024) {
  let entries: Entry[] = [];
  // Those before it are dropped; the array is shortened now and then, as each time would move all of it.
  let first = 0;
  let size = 0;
  return {
    add(entry: Entry) {
      entries.push(entry);
      size += sizeOf(entry);
      while (first < entries.length && (entries.length - first > maxEntries || size > maxSize)) {
        size -= sizeOf(entries[first]!);
        first += 1;
      }
      if (first <= maxEntries) return;
      entries = entries.slice(first);
      first = 0;
    },
    text: (toLine: (entry: Entry) => string) =>
      entries
        .slice(first)
        .map((entry) => `${toLine(entry)}\n`)
        .join(''),
  };
}

/** Line breaks and other control characters as `\uXXXX`, so that no text can pretend to be a line of its own. */
export const escapeControls = (text: string) =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is escaped
  text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });

/** The caller's address: the first of X-Forwarded-For (a caller can forge it), else the peer's, which is the watchdog. */
export function originOf({ headers, remoteAddress }: Pick<FunctionEvent, 'headers' | 'remoteAddress'>): string {
  const forwarded = headers['x-forwarded-for'];
  if (forwarded === undefined) return remoteAddress || '-';
  const first = String(forwarded).split(',', 1)[0]!.trim();
  return isIP(first) > 0 ? first : remoteAddress || '-';
}

export interface HistoryEntry {
  timestamp: string;
  origin: string;
  latency: number;
  prompt: string;
  completion: string;
  request_id: string;
}

type JournalLevel = 'INFO' | 'WARNING' | 'ERROR';

interface LogEntry {
  at: number;
  level: JournalLevel;
  origin: string;
  callId: string;
  message: string;
}

export interface Journal {
  log(level: JournalLevel, origin: string, callId: string, message: string): void;
  remember(entry: HistoryEntry): void;
  logs(): string;
  history(): string;
}

const maxMessage = 2_000;
const toLine = ({ at, level, origin, callId, message }: LogEntry) =>
  escapeControls(`[${new Date(at).toISOString()}] [${level}] [${origin}] [${callId}] ${message}`).slice(0, maxMessage);

/** What `/logs` and `/history` show. In memory, of this replica, since its start. Lines are written when they are read. */
export function createJournal(options: { logsLines: number; historyLines: number; now?: () => number }): Journal {
  const { now = Date.now } = options;
  const logs = createRing<LogEntry>(options.logsLines, ({ message }) => message.length + 200);
  const history = createRing<string>(options.historyLines, (line) => Buffer.byteLength(line) + 1);
  return {
    log: (level, origin, callId, message) =>
      logs.add({ at: now(), level, origin, callId, message: message.slice(0, maxMessage) }),
    remember: (entry) => history.add(JSON.stringify(entry)),
    logs: () => logs.text(toLine),
    history: () => history.text((line) => line),
  };
}
