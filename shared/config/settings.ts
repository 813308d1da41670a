import * as z from 'zod';
import { ConfigError } from '../errors.ts';
import { readSecret, type Secret } from './secrets.ts';

/** One object schema per function: UPPER_SNAKE keys are environment variables, kebab-case keys are secrets. */
export type SettingsSchema = z.ZodObject<Record<string, z.ZodType>>;

const isSecretName = (key: string) => /^[a-z0-9-]+$/.test(key);

/**
 * Reads and checks a function's settings once, at start. Empty means unset. Throws ConfigError that names every bad
 * setting and shows no value.
 */
export function loadSettings<Schema extends SettingsSchema>(schema: Schema, env: NodeJS.ProcessEnv): z.infer<Schema> {
  const input: Record<string, unknown> = {};
  for (const key of Object.keys(schema.shape)) {
    const value = isSecretName(key) ? readSecret(key, env) : env[key]?.trim();
    if (value !== undefined && value !== '') input[key] = value;
  }
  // Compiled code for one call is slower than none.
  const parsed = schema.safeParse(input, { jitless: true });
  if (parsed.success) return parsed.data;
  throw new ConfigError(
    parsed.error.issues.map(({ path, message, code }) => {
      const name = String(path[0] ?? 'settings');
      return code === 'invalid_type' && input[name] === undefined ? `${name} is required` : `${name}: ${message}`;
    }),
  );
}

/** A secret that may be absent. Its value is read at each use. */
export const optionalSecret = () => z.custom<Secret>();

/** A secret without which the function cannot work. */
export const requiredSecret = () =>
  z.custom<Secret>().superRefine((secret, context) => {
    if (secret.read() === undefined) {
      const variable = secret.name.toUpperCase().replaceAll('-', '_');
      context.addIssue({ code: 'custom', message: `create this secret, or set ${variable}` });
    }
  });

/** `true` or `false`, and nothing else: coercion would read "false" as true. */
export const flag = (fallback: boolean) =>
  z
    .enum(['true', 'false', '1', '0'], 'must be true or false')
    .optional()
    .transform((text) => (text === undefined ? fallback : text === 'true' || text === '1'));

/** A whole number within bounds, both inclusive. */
export const integer = (options: { fallback: number; min?: number; max?: number }) => {
  const { fallback, min = 0, max = Number.MAX_SAFE_INTEGER } = options;
  return z
    .string()
    .optional()
    .transform((text, context) => {
      if (text === undefined) return fallback;
      const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
      if (value >= min && value <= max) return value;
      context.addIssue(`must be a whole number from ${min} to ${max}`);
      return z.NEVER;
    });
};

/** Seconds, fractions allowed, in ms. */
export const seconds = (fallback: number) =>
  z
    .string()
    .optional()
    .transform((given, context) => {
      if (given === undefined) return fallback * 1_000;
      if (/^\d{1,5}(\.\d{1,3})?$/.test(given)) return Math.round(Number(given) * 1_000);
      context.addIssue('must be a number of seconds from 0 to 99999');
      return z.NEVER;
    });

/** An http or https URL without credentials, as a string without trailing slashes. */
export const httpUrl = () =>
  z.string().transform((text, context) => {
    const url = URL.parse(text);
    if (url === null || !['http:', 'https:'].includes(url.protocol)) {
      context.addIssue('must be a URL that starts with http:// or https://');
      return z.NEVER;
    }
    if (url.username !== '' || url.password !== '') {
      context.addIssue('must not carry credentials: put them into a secret');
      return z.NEVER;
    }
    return text.replace(/\/+$/, '');
  });

/** Items between commas, trimmed, empty ones dropped. */
export const list = () =>
  z.string().transform((text) =>
    text
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== ''),
  );
