import { isIP } from 'node:net';
import type { FunctionEvent } from '#shared/http/function.ts';

/** The last lines, oldest dropped first, bounded by number and by size: prompts can be long. */
export function createRing(maxLines: number, maxBytes = 8 * 1024 * 1024) {
  const lines: string[] = [];
  let bytes = 0;
  return {
    add(line: string) {
      lines.push(line);
      bytes += Buffer.byteLength(line) + 1;
      while (lines.length > 0 && (lines.length > maxLines || bytes > maxBytes)) {
        bytes -= Buffer.byteLength(lines.shift()!) + 1;
      }
    },
    text: () => lines.map((line) => `${line}\n`).join(''),
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
  const first = String(headers['x-forwarded-for'] ?? '')
    .split(',', 1)[0]!
    .trim();
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

export interface Journal {
  log(level: 'INFO' | 'WARNING' | 'ERROR', origin: string, callId: string, message: string): void;
  remember(entry: HistoryEntry): void;
  logs(): string;
  history(): string;
}

/** What `/logs` and `/history` show. In memory, of this replica, since its start. */
export function createJournal(options: { logsLines: number; historyLines: number; now?: () => Date }): Journal {
  const { now = () => new Date() } = options;
  const logs = createRing(options.logsLines);
  const history = createRing(options.historyLines);
  return {
    log(level, origin, callId, message) {
      const line = `[${now().toISOString()}] [${level}] [${origin}] [${callId}] ${message}`;
      logs.add(escapeControls(line).slice(0, 2_000));
    },
    remember: (entry) => history.add(JSON.stringify(entry)),
    logs: logs.text,
    history: history.text,
  };
}
