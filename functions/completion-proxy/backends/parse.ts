import * as z from 'zod';
import type { Secret } from '#shared/config/secrets.ts';
import { parseHttpUrl } from '#shared/config/settings.ts';
import { ConfigError } from '#shared/errors.ts';
import { type Backend, kinds } from './backend.ts';
import { type BackendDefaults, toBackend, toVastBackend } from './make.ts';
import { createPatterns } from './patterns.ts';

const count = (min: number, max = 86_400_000) => z.number().int().min(min).max(max);
const texts = z.array(z.string().min(1)).min(1);

const url = z.string().transform((text, context) => {
  try {
    return parseHttpUrl(text);
  } catch (error) {
    for (const problem of (error as ConfigError).problems) context.addIssue(problem);
    return z.NEVER;
  }
});

const entry = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9_.-]{0,62}$/, 'takes small letters, digits, dot, dash and underscore'),
  url: url.optional(),
  kind: z.enum(kinds),
  endpoint: z.string().min(1).optional(),
  credential: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]*$/, 'is the name of a secret, in kebab-case')
    .optional(),
  models: texts.optional(),
  aliases: z.record(z.string().min(1), z.string().min(1)).optional(),
  paths: z.array(z.string().startsWith('/')).min(1).optional(),
  order: count(1, 1_000).default(1),
  weight: z.number().positive().max(1_000).default(1),
  max_concurrency: count(1, 100_000).optional(),
  cancel_on_disconnect: z.boolean().optional(),
  collect_stream_usage: z.boolean().optional(),
  billed_by: z.enum(['litellm']).optional(),
  healthcheck: z.union([z.string().startsWith('/'), z.literal(false)]).optional(),
  timeouts: z
    .strictObject({
      connect_ms: count(0).optional(),
      first_byte_ms: count(0).optional(),
      idle_ms: count(0).optional(),
      total_ms: count(0).optional(),
    })
    .optional(),
});
const named = entry.superRefine(({ kind, url, endpoint }, context) => {
  const isVast = kind === 'vast';
  if (isVast && endpoint === undefined)
    context.addIssue({ code: 'custom', path: ['endpoint'], message: 'is required' });
  if (!isVast && endpoint !== undefined)
    context.addIssue({ code: 'custom', path: ['endpoint'], message: 'is for vast' });
  if (!isVast && url === undefined) context.addIssue({ code: 'custom', path: ['url'], message: 'is required' });
});
const entries = z
  .array(named)
  .min(1)
  .superRefine((list, context) => {
    const names = list.map(({ name }) => name);
    const twice = names.filter((name, index) => names.indexOf(name) !== index);
    if (twice.length > 0) context.addIssue(`names ${[...new Set(twice)].join(', ')} twice`);
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
  const parsed = entries.safeParse(value);
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
