import { readFileSync } from 'node:fs';
import * as z from 'zod/mini';
import { ConfigError } from '../errors.ts';
import { readSecret, type Secret } from './secrets.ts';

// zod/mini, and one schema for a setting: a cold start makes all of them, and with zod's other face, and schemas of
// schemas, that took a third of its time.

/** One object schema per function: UPPER_SNAKE keys are environment variables, kebab-case keys are secrets. */
export type SettingsSchema = z.ZodMiniObject<Record<string, z.core.$ZodType>>;

const isSecretName = (key: string) => /^[a-z0-9-]+$/.test(key);

/**
 * Reads and checks a function's settings once, at start. Empty means unset. Throws ConfigError that names every bad
 * setting and shows no value.
 */
export function loadSettings<Schema extends SettingsSchema>(schema: Schema, env: NodeJS.ProcessEnv): z.infer<Schema> {
  const input: Record<string, unknown> = {};
  for (const key of Object.keys(schema.shape)) {
    const value = isSecretName(key) ? readSecret(key, env) : env[key]?.trim();
    // Unset as well: an absent key would not reach its setting.
    input[key] = value === '' ? undefined : value;
  }
  // Compiled code for one call is slower than none.
  const parsed = z.safeParse(schema, input, { jitless: true });
  if (parsed.success) return parsed.data;
  throw new ConfigError(
    parsed.error.issues.map(({ path, message }) => {
      const name = String(path[0] ?? 'settings');
      return message === isRequired ? `${name} ${message}` : `${name}: ${message}`;
    }),
  );
}

const isRequired = 'is required';
const refuse = (problem: string): never => {
  throw new ConfigError([problem]);
};

const checked = <Given, Value>(parse: (given: Given) => Value) =>
  z.transform((given: unknown, context): Value => {
    try {
      return parse(given as Given);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      for (const message of error.problems) context.issues.push({ code: 'custom', input: given, message });
      return z.NEVER;
    }
  });

/** A variable by a parser of its text, which is undefined where it is not set; it throws ConfigError for a bad one. */
export const setting = <Value>(parse: (text: string | undefined) => Value) => checked(parse);

/** A variable that has to be set. */
export const required = <Value>(parse: (text: string) => Value) =>
  setting((text) => (text === undefined ? refuse(isRequired) : parse(text)));

/** A variable that is undefined where it is not set. */
export const optional = <Value>(parse: (text: string) => Value) =>
  setting((text) => (text === undefined ? undefined : parse(text)));

/** A secret that may be absent. Its value is read at each use; `check` sees the first one and throws ConfigError. */
export const optionalSecret = (check?: (value: string) => void) =>
  checked((secret: Secret): Secret => {
    const value = check && secret.read();
    if (value !== undefined) check?.(value);
    return secret;
  });

/** A secret without which the function cannot work. */
export const requiredSecret = () =>
  checked((secret: Secret): Secret => {
    if (secret.read() !== undefined) return secret;
    return refuse(`create this secret, or set ${secret.name.toUpperCase().replaceAll('-', '_')}`);
  });

/** `true` or `false`, and nothing else: coercion would read "false" as true. */
export const flag = (fallback: boolean) =>
  setting((text): boolean => {
    if (text === undefined) return fallback;
    if (text === 'true' || text === '1') return true;
    return text === 'false' || text === '0' ? false : refuse('must be true or false');
  });

/** A whole number within bounds, both inclusive. */
export const integer = (options: { fallback: number; min?: number; max?: number }) => {
  const { fallback, min = 0, max = Number.MAX_SAFE_INTEGER } = options;
  return setting((text): number => {
    if (text === undefined) return fallback;
    const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
    return value >= min && value <= max ? value : refuse(`must be a whole number from ${min} to ${max}`);
  });
};

/** Seconds, fractions allowed, in ms. */
export const seconds = (fallback: number) =>
  setting((text): number => {
    if (text === undefined) return fallback * 1_000;
    if (/^\d{1,5}(\.\d{1,3})?$/.test(text)) return Math.round(Number(text) * 1_000);
    return refuse('must be a number of seconds from 0 to 99999');
  });

/** Any text. */
export const text = (fallback: string) => setting((given): string => given ?? fallback);
export const optionalText = () => optional((given) => given);

/** A text that `form` matches; else `problem` says what it must be. */
export const matching =
  (form: RegExp, problem: string) =>
  (given: string): string =>
    form.test(given) ? given : refuse(problem);

/** The path of a file; its text is read once. */
export const fileText = () =>
  optional((path): string => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return refuse('cannot be read');
    }
  });

/** One of some words. */
export const oneOf = <const Name extends string>(names: readonly Name[], fallback: NoInfer<Name>) =>
  setting((given): Name => {
    const found = given === undefined ? fallback : names.find((name) => name === given);
    return found ?? refuse(`must be one of ${names.join(', ')}`);
  });

/** An http or https URL without credentials, as a string without trailing slashes. Throws ConfigError. */
export function parseHttpUrl(given: string): string {
  const url = URL.parse(given);
  if (url === null || !['http:', 'https:'].includes(url.protocol)) {
    return refuse('must be a URL that starts with http:// or https://');
  }
  if (url.username !== '' || url.password !== '') {
    return refuse('must not carry credentials: put them into a secret');
  }
  return given.replace(/\/+$/, '');
}

export const httpUrl = () => required(parseHttpUrl);
export const optionalUrl = () => optional(parseHttpUrl);
export const urlOr = (fallback: string) =>
  setting((given): string => (given === undefined ? fallback : parseHttpUrl(given)));

/** Items between commas, trimmed, empty ones dropped; none where it is not set. */
export const toList = (given = ''): string[] =>
  given
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');

export const list = () => setting(toList);

/** A comma list of some words, at least one; `fallback` where it is not set. */
export const listOf = <const Name extends string>(names: readonly Name[], fallback: readonly NoInfer<Name>[]) =>
  setting((given): Name[] => {
    const items = given === undefined ? [...fallback] : toList(given);
    const isKnown = items.every((item) => (names as readonly string[]).includes(item));
    if (isKnown && items.length > 0) return items as Name[];
    return refuse(`takes a comma list of ${names.join(', ')}`);
  });

/** Says a problem of a setting where its parser is of another kind. Throws ConfigError. */
export { refuse };
