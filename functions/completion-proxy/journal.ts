import { isIP } from 'node:net';
import type { FunctionEvent } from '#shared/http/function.ts';
import { type ContentRule, keepText } from './records/content.ts';

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
    list: (): Entry[] => entries.slice(first),
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
  /** null where HISTORY_CONTENT keeps none. */
  prompt: string | null;
  completion: string | null;
  request_id: string;
}

export type JournalLevel = 'INFO' | 'WARNING' | 'ERROR';

/** A call: its lines are written when somebody reads them, since most are never read. */
export interface CallNote {
  readonly startedAt: number;
  readonly origin: string;
  readonly callId: string;
  readonly method: string;
  readonly path: string;
  endedAt: number;
  status: number;
}

export interface JournalLine {
  at: number;
  level: JournalLevel;
  origin: string;
  callId: string;
  message: string;
}

export interface Journal {
  begin(origin: string, callId: string, method: string, path: string): CallNote;
  end(note: CallNote, status: number): void;
  log(level: JournalLevel, origin: string, callId: string, message: string): void;
  remember(entry: HistoryEntry): void;
  /** In the order of time. */
  lines(isWanted?: (line: JournalLine) => boolean): JournalLine[];
  logs(isWanted?: (line: JournalLine) => boolean): string;
  /** Calls with every new line until it is told to stop. */
  follow(listener: (line: JournalLine) => void): () => void;
  history(): string;
}

const maxMessage = 2_000;
const toLine = ({ at, level, origin, callId, message }: JournalLine) =>
  escapeControls(`[${new Date(at).toISOString()}] [${level}] [${origin}] [${callId}] ${message}`).slice(0, maxMessage);

function toLines(note: CallNote | JournalLine): JournalLine[] {
  if ('message' in note) return [note];
  const { origin, callId, method, path, startedAt, endedAt, status } = note;
  const begun: JournalLine = {
    at: startedAt,
    level: 'INFO',
    origin,
    callId,
    message: `Incoming request: ${method} ${path}`,
  };
  if (status === 0) return [begun];
  const level = status >= 500 ? 'ERROR' : status >= 400 ? 'WARNING' : 'INFO';
  const message = `Processing ended with status ${status} and a latency of ${Math.round(endedAt - startedAt)}ms`;
  return [begun, { at: endedAt, level, origin, callId, message }];
}

export interface JournalOptions {
  logsLines: number;
  historyLines: number;
  /** Absent: history has the calls of `/completion`, and not what was said. */
  content?: ContentRule | undefined;
  now?: () => number;
}

/** What `/logs` and `/history` show. In memory, of this replica, since its start. */
export function createJournal(options: JournalOptions): Journal {
  const { logsLines, content, now = Date.now } = options;
  const listeners = new Set<(line: JournalLine) => void>();
  const tell = (line: JournalLine) => {
    for (const listener of listeners) listener({ ...line, message: escapeControls(line.message) });
  };
  const logs = createRing<CallNote | JournalLine>(logsLines, (entry) =>
    'message' in entry ? entry.message.length + 200 : entry.path.length + 400,
  );
  const history = createRing<string>(options.historyLines, (line) => Buffer.byteLength(line) + 1);
  function lines(isWanted: (line: JournalLine) => boolean = () => true): JournalLine[] {
    const found = logs.list().flatMap(toLines).filter(isWanted);
    // toSorted is stable: what happened in one millisecond stays in its order.
    const sorted = found.toSorted((a, b) => a.at - b.at).slice(-logsLines || found.length);
    return sorted.map((line) => ({ ...line, message: escapeControls(line.message) }));
  }

  return {
    begin(origin, callId, method, path) {
      const note = { startedAt: now(), origin, callId, method, path: path.slice(0, maxMessage), endedAt: 0, status: 0 };
      logs.add(note);
      if (listeners.size > 0) tell(toLines(note)[0]!);
      return note;
    },
    end(note, status) {
      note.endedAt = now();
      note.status = status;
      if (listeners.size > 0) tell(toLines(note)[1]!);
    },
    log(level, origin, callId, message) {
      const line = { at: now(), level, origin, callId, message: message.slice(0, maxMessage) };
      logs.add(line);
      tell(line);
    },
    remember(entry) {
      const { prompt, completion } = entry;
      const keep = (text: string | null) => (content === undefined || text === null ? null : keepText(text, content));
      history.add(JSON.stringify({ ...entry, prompt: keep(prompt), completion: keep(completion) }));
    },
    follow(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    lines,
    logs: (isWanted) =>
      lines(isWanted)
        .map((line) => `${toLine(line)}\n`)
        .join(''),
    history: () =>
      history
        .list()
        .map((line) => `${line}\n`)
        .join(''),
  };
}
