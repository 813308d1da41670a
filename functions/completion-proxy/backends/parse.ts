import * as z from 'zod/mini';
import en from 'zod/v4/locales/en.js';
import type { Secret } from '#shared/config/secrets.ts';
import { parseHttpUrl } from '#shared/config/settings.ts';
import { ConfigError } from '#shared/errors.ts';
import { type Backend, kinds } from './backend.ts';
import { type BackendDefaults, toBackend, toVastBackend } from './make.ts';
import { createPatterns } from './patterns.ts';

// The face of zod that settings have as well, with the sentences that its other one brings.
z.config(en());

const count = (min: number, max = 86_400_000) => z.int().check(z.minimum(min), z.maximum(max));
const text = () => z.string().check(z.minLength(1));
const path = () => z.string().check(z.startsWith('/'));
const url = z.pipe(
  z.string(),
  z.transform((given: string, context): string => {
    try {
      return parseHttpUrl(given);
    } catch (error) {
      for (const message of (error as ConfigError).problems) {
        context.issues.push({ code: 'custom', input: given, message });
      }
      return z.NEVER;
    }
  }),
);

const entry = z.strictObject({
  name: z
    .string()
    .check(z.regex(/^[a-z0-9][a-z0-9_.-]{0,62}$/, 'takes small letters, digits, dot, dash and underscore')),
  url: z.optional(url),
  kind: z.enum(kinds),
  endpoint: z.optional(text()),
  credential: z.optional(z.string().check(z.regex(/^[a-z0-9][a-z0-9-]*$/, 'is the name of a secret, in kebab-case'))),
  models: z.optional(z.array(text()).check(z.minLength(1))),
  aliases: z.optional(z.record(text(), text())),
  paths: z.optional(z.array(path()).check(z.minLength(1))),
  order: z._default(count(1, 1_000), 1),
  weight: z._default(z.number().check(z.positive(), z.maximum(1_000)), 1),
  max_concurrency: z.optional(count(1, 100_000)),
  cancel_on_disconnect: z.optional(z.boolean()),
  collect_stream_usage: z.optional(z.boolean()),
  billed_by: z.optional(z.enum(['litellm'])),
  healthcheck: z.optional(z.union([path(), z.literal(false)])),
  timeouts: z.optional(
    z.strictObject({
      connect_ms: z.optional(count(0)),
      first_byte_ms: z.optional(count(0)),
      idle_ms: z.optional(count(0)),
      total_ms: z.optional(count(0)),
    }),
  ),
});
const named = entry.check(({ value, issues }) => {
  const { kind, url, endpoint } = value;
  const refuse = (name: string, message: string) =>
    issues.push({ code: 'custom', path: [name], message, input: value });
  const isVast = kind === 'vast';
  if (isVast && endpoint === undefined) refuse('endpoint', 'is required');
  if (!isVast && endpoint !== undefined) refuse('endpoint', 'is for vast');
  if (!isVast && url === undefined) refuse('url', 'is required');
});
const entries = z.array(named).check(z.minLength(1), ({ value, issues }) => {
  const names = value.map(({ name }) => name);
  const twice = names.filter((name, index) => names.indexOf(name) !== index);
  if (twice.length === 0) return;
  issues.push({ code: 'custom', message: `names ${[...new Set(twice)].join(', ')} twice`, input: value });
});

/** JSON is YAML too, but the parser of YAML takes longer to load than the whole function. */
async function parseText(text: string): Promise<unknown> {
  if (/^\s*[[{]/.test(text)) {
    try {
      return JSON.parse(text);
    } catch {
      // YAML writes lists and objects in brackets as well.
    }
  }
  const { parse } = await import('yaml');
  return parse(text, { maxAliasCount: 100 });
}

function toListed(given: z.infer<typeof entry>, defaults: BackendDefaults, secret: (name: string) => Secret): Backend {
  const { name, url = '', kind, endpoint = '', timeouts = {} } = given;
  const credential = given.credential === undefined ? undefined : secret(given.credential);
  const backend =
    kind === 'vast'
      ? toVastBackend({ name, url: given.url, endpoint, apiKey: credential }, defaults)
      : toBackend({ name, url, kind, credential }, defaults);
  return {
    ...backend,
    models: given.models && createPatterns(given.models),
    aliases: new Map(Object.entries(given.aliases ?? {})),
    paths: given.paths && createPatterns(given.paths),
    order: given.order,
    weight: given.weight,
    maxConcurrency: given.max_concurrency ?? defaults.maxConcurrency,
    cancelOnDisconnect: given.cancel_on_disconnect ?? defaults.cancelOnDisconnect,
    collectStreamUsage: given.collect_stream_usage ?? backend.collectStreamUsage,
    billedBy: given.billed_by,
    healthPath: given.healthcheck === false ? undefined : (given.healthcheck ?? backend.healthPath),
    timeouts: {
      connectMs: timeouts.connect_ms ?? defaults.timeouts.connectMs,
      firstByteMs: timeouts.first_byte_ms ?? defaults.timeouts.firstByteMs,
      idleMs: timeouts.idle_ms ?? defaults.timeouts.idleMs,
      totalMs: timeouts.total_ms ?? defaults.timeouts.totalMs,
    },
  };
}

/**
 * The list in `BACKENDS`, JSON or YAML. Throws ConfigError that names every bad place and shows no value, and every
 * credential that is missing.
 */
export async function parseBackends(
  text: string,
  defaults: BackendDefaults,
  secret: (name: string) => Secret,
): Promise<Backend[]> {
  const value = await parseText(text).catch(() => {
    throw new ConfigError(['BACKENDS: is neither JSON nor YAML']);
  });
  const parsed = z.safeParse(entries, value);
  if (!parsed.success) {
    throw new ConfigError(parsed.error.issues.map(({ path, message }) => `BACKENDS${toPlace(path)}: ${message}`));
  }
  const backends = parsed.data.map((given) => toListed(given, defaults, secret));
  const missing = backends.filter(({ credential }) => credential !== undefined && credential.read() === undefined);
  if (missing.length > 0) {
    throw new ConfigError(
      missing.map(
        ({ name, credential }) => `BACKENDS: create the secret ${credential!.name} of ${name}, or set its variable`,
      ),
    );
  }
  return backends;
}

const toPlace = (path: readonly PropertyKey[]) =>
  path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('');
