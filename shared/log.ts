import { toIso } from './iso.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFields = Record<string, unknown>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with these fields on every line. */
  child(fields: LogFields): Logger;
}

const rank: Record<LogLevel, number> = { debug: 10, info: 20, warn: 30, error: 40 };
const secretName =
  /authorization|cookie|password|passwd|secret|signature|credential|api[-_]?key|^(access|auth|bearer|refresh)?[-_]?token$|jwt/i;
// of-watchdog reads the pipe in lines of 64 KiB; a longer one stops its reader for good and the function blocks.
const maxLineBytes = 60_000;
const maxTextLength = 4_000;

interface FieldName {
  isSecret: boolean;
  /** One that every line begins with: another one must not stand there twice, as readers differ in which one counts. */
  isTaken: boolean;
  /** As it stands in a line, between the field before and its value. */
  text: string;
}

const firstNames = ['time', 'level', 'msg'];

const knownNames = new Map<string, FieldName>();

/** The names of fields are few and our own; only what a caller chose could make them many. */
function toFieldName(name: string): FieldName {
  const known = knownNames.get(name);
  if (known !== undefined) return known;
  const field = {
    isSecret: secretName.test(name),
    isTaken: firstNames.includes(name),
    text: `,${JSON.stringify(name)}:`,
  };
  if (knownNames.size < 1_000) knownNames.set(name, field);
  return field;
}

function printable(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return value.length > maxTextLength ? `${value.slice(0, maxTextLength)}…` : value;
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Error) {
    const { name, message, stack, cause } = value;
    return {
      name,
      message,
      stack: stack?.slice(0, maxTextLength),
      ...(cause === undefined || depth > 3 ? {} : { cause: printable(cause, depth + 1) }),
    };
  }
  if (typeof value !== 'object' || value === null) return value;
  if (depth > 5) return '[deep]';
  if (Array.isArray(value)) return value.slice(0, 100).map((item) => printable(item, depth + 1));
  const printed: LogFields = {};
  for (const [key, item] of Object.entries(value)) {
    printed[key] = toFieldName(key).isSecret ? '[redacted]' : printable(item, depth + 1);
  }
  return printed;
}

/** Reads `LOG_LEVEL` in any case, with Python's names as aliases (`WARNING`, `CRITICAL`); anything else is undefined. */
export function parseLogLevel(text: string): LogLevel | undefined {
  const level = text.trim().toLowerCase();
  if (level === 'warning') return 'warn';
  if (level === 'critical' || level === 'fatal') return 'error';
  return Object.hasOwn(rank, level) ? (level as LogLevel) : undefined;
}

let pending = '';

function flush() {
  const lines = pending;
  pending = '';
  if (lines !== '') process.stderr.write(lines);
}

const flushMs = 10;

/** The lines of some milliseconds in one write, which is a system call; what is left at the exit goes then. */
function writeSoon(line: string) {
  if (pending === '') setTimeout(flush, flushMs).unref();
  pending += line;
}
process.on('exit', flush);

// Nothing in it that JSON would write in another way, and of ordinary length.
const plain = /^[ !#-[\]-~]{0,200}$/;

/** undefined for what JSON leaves out. */
function toJson(value: unknown): string | undefined {
  if (typeof value === 'string' && plain.test(value)) return `"${value}"`;
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  return JSON.stringify(printable(value, 1));
}

/**
 * The fields as they stand in a line, or undefined where one is there already: `above` are those before them. By hand,
 * since there is a line for every call: half the time of one JSON.stringify.
 */
function toText(fields: LogFields, above: LogFields): string | undefined {
  let text = '';
  for (const key in fields) {
    const name = toFieldName(key);
    if (name.isTaken || key in above) return undefined;
    const value = name.isSecret ? '"[redacted]"' : toJson(fields[key]);
    if (value !== undefined) text += name.text + value;
  }
  return text;
}

const none: LogFields = {};

interface LoggerOptions {
  level?: LogLevel;
  fields?: LogFields;
  write?: (line: string) => void;
  now?: () => Date;
}

// A class, since there is a child for every call: its methods are made once.
class JsonLogger implements Logger {
  readonly #options: LoggerOptions;
  readonly #fields: LogFields;
  readonly #rank: number;

  constructor(options: LoggerOptions, fields: LogFields) {
    this.#options = options;
    this.#fields = fields;
    this.#rank = rank[options.level ?? 'info'];
  }

  #emit(level: LogLevel, message: string, fields: LogFields | undefined) {
    if (rank[level] < this.#rank) return;
    const { now, write = writeSoon } = this.#options;
    const time = toIso(now === undefined ? Date.now() : now().getTime());
    const above = toText(this.#fields, none);
    const own = fields === undefined ? '' : toText(fields, this.#fields);
    let line: string;
    if (above === undefined || own === undefined) {
      line = JSON.stringify(printable({ time, level, msg: message, ...this.#fields, ...fields }, 0));
    } else line = `{"time":"${time}","level":"${level}","msg":${toJson(message)}${above}${own}}`;
    // No character is more than three bytes.
    if (line.length * 3 > maxLineBytes && Buffer.byteLength(line) > maxLineBytes) {
      line = JSON.stringify({ time, level, msg: printable(message, 0), cut: true });
    }
    write(`${line}\n`);
  }

  debug(message: string, fields?: LogFields) {
    this.#emit('debug', message, fields);
  }

  info(message: string, fields?: LogFields) {
    this.#emit('info', message, fields);
  }

  warn(message: string, fields?: LogFields) {
    this.#emit('warn', message, fields);
  }

  error(message: string, fields?: LogFields) {
    this.#emit('error', message, fields);
  }

  child(fields: LogFields): Logger {
    return new JsonLogger(this.#options, this.#fields === none ? fields : { ...this.#fields, ...fields });
  }
}

/**
 * JSON lines on stderr: `{"time","level","msg",...fields}`. Fields whose name tells of a secret are redacted, line breaks
 * are escaped by JSON (so no line can be forged), and a line stays below the 64 KiB that of-watchdog can read.
 */
export function createLogger(options: LoggerOptions = {}): Logger {
  return new JsonLogger(options, options.fields ?? none);
}
