import * as z from 'zod';
import type { Secret } from '#shared/config/secrets.ts';
import { httpUrl } from '#shared/config/settings.ts';
import { ConfigError } from '#shared/errors.ts';
import type { VastTarget } from '../vast/target.ts';
import { type Backend, type BackendKind, type BackendTimeouts, healthPathOf, kinds } from './backend.ts';
import { createPatterns } from './patterns.ts';

const count = (min: number, max = 86_400_000) => z.number().int().min(min).max(max);
const texts = z.array(z.string().min(1)).min(1);

const entry = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9_.-]{0,62}$/, 'takes small letters, digits, dot, dash and underscore'),
  url: httpUrl().optional(),
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

export interface BackendDefaults {
  timeouts: BackendTimeouts;
  maxConcurrency: number;
  cancelOnDisconnect: boolean;
  forwardAuthorization: boolean;
  collectStreamUsage: boolean;
  /** For every backend that names none; undefined leaves it to the kind. */
  healthPath?: string | undefined;
  /** What endpoints of Vast.ai have in common, and where their autoscaler is. */
  vast?: (Omit<VastTarget, 'endpoint'> & { url: string }) | undefined;
}

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

/** Who takes `stream_options`. */
const speaksOpenAi = (kind: BackendKind) => kind === 'openai' || kind === 'ollama';

/** Clients of OpenAI and Anthropic write the base with `/v1`; the paths that callers use have it as well. */
const withoutVersion = (url: string, kind: BackendKind) =>
  kind === 'openai' || kind === 'anthropic' ? url.replace(/\/v1\/?$/, '') : url;

export function toBackend(
  given: { name: string; url: string; kind: BackendKind; credential?: Secret | undefined },
  defaults: BackendDefaults,
): Backend {
  const { name, kind, credential } = given;
  const { origin, pathname } = new URL(withoutVersion(given.url, kind));
  return {
    name,
    kind,
    origin,
    basePath: pathname.replace(/\/+$/, ''),
    credential,
    aliases: new Map(),
    order: 1,
    weight: 1,
    maxConcurrency: defaults.maxConcurrency,
    cancelOnDisconnect: defaults.cancelOnDisconnect,
    forwardAuthorization: defaults.forwardAuthorization,
    collectStreamUsage: defaults.collectStreamUsage && speaksOpenAi(kind),
    healthPath: defaults.healthPath ?? healthPathOf[kind],
    timeouts: defaults.timeouts,
  };
}

/** An endpoint of Vast.ai: the ways to get over a failure are its own. Throws ConfigError where there is no key for it. */
export function toVastBackend(
  given: { name: string; url?: string | undefined; endpoint: string; apiKey?: Secret | undefined },
  defaults: BackendDefaults,
): Backend {
  const { url, ...common } = defaults.vast!;
  const { name, endpoint, apiKey = common.apiKey } = given;
  if (apiKey?.read() === undefined && common.accountKey?.read() === undefined) {
    const secret = apiKey?.name ?? 'vast-api-key';
    throw new ConfigError([`create the secret ${secret} of ${name} (or vast-account-key), or set its variable`]);
  }
  const backend = toBackend({ name, url: given.url ?? url, kind: 'vast' }, defaults);
  return { ...backend, healthPath: undefined, retries: 0, vast: { ...common, endpoint, apiKey } };
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
