import { createContext, Script } from 'node:vm';

const maxMs = 20;
const tooSlow = '[not kept: a pattern of HISTORY_REDACT took too long]';

/** Runs what may take for ever; V8 ends also a regular expression that tries everything. */
function createGuard(): (work: () => string) => string {
  const room = { work: () => '' };
  const context = createContext(room);
  const script = new Script('work()');
  return (work) => {
    room.work = work;
    return script.runInContext(context, { timeout: maxMs }) as string;
  };
}

let guard: ReturnType<typeof createGuard> | undefined;

/**
 * The text without what the patterns match. Callers choose the text, and an operator's pattern that looks harmless may try
 * every way to match it: after a fiftieth of a second nothing of the text is kept.
 */
export function redactText(text: string, patterns: readonly RegExp[]): string {
  if (patterns.length === 0) return text;
  guard ??= createGuard();
  try {
    return guard(() => patterns.reduce((left, pattern) => left.replace(pattern, '[redacted]'), text));
  } catch {
    return tooSlow;
  }
}

/**
 * A JSON text with its characters as they are, where clients wrote them as escapes (Python does so with every ü): a pattern
 * finds what is meant and not how it was sent. It is JSON still.
 */
export const plainJson = (json: string) =>
  json.includes('\\')
    ? json.replace(/\\(?:u([0-9a-f]{4})|[^u])/gi, (whole, hex: string | undefined) => {
        if (hex === undefined) return whole === '\\/' ? '/' : whole;
        const code = Number.parseInt(hex, 16);
        const isPlain = code >= 0x20 && code !== 0x22 && code !== 0x5c && (code < 0x7f || code > 0x9f);
        return isPlain ? String.fromCharCode(code) : whole;
      })
    : json;
