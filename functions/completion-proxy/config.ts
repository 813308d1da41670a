import { readFileSync } from 'node:fs';
import * as z from 'zod/mini';
import { authSettings, logSettings, storeSettings } from '#shared/config/common.ts';
import { readSecret, type Secret } from '#shared/config/secrets.ts';
import {
  fileText,
  flag,
  integer,
  list,
  listOf,
  loadSettings,
  matching,
  oneOf,
  optional,
  optionalSecret,
  optionalText,
  optionalUrl,
  refuse,
  seconds,
  setting,
  text,
  urlOr,
} from '#shared/config/settings.ts';
import { ConfigError } from '#shared/errors.ts';
import type { Backend } from './backends/backend.ts';
import { type BackendDefaults, toBackend, toVastBackend } from './backends/make.ts';
import { type Policies, parsePolicies } from './callers/policy.ts';
import defaultPrices from './usage/default-prices.json' with { type: 'json' };
import { type Prices, readPrices } from './usage/prices.ts';

const milliseconds = (fallback: number) => integer({ fallback, max: 86_400_000 });

function parseAliases(given: string | undefined): ReadonlyMap<string, string> {
  if (given === undefined) return new Map();
  try {
    const names = z.record(z.string(), z.string().check(z.minLength(1)));
    return new Map(Object.entries(z.parse(names, JSON.parse(given))));
  } catch {
    return refuse('must be a JSON object of names: {"gpt-4o": "llama3.3"}');
  }
}

/** A setting that a parser of ours reads; its ConfigError names the place in it. */
const parsed = <Value>(parse: (text: string | undefined) => Value) =>
  setting((given): Value => {
    try {
      return parse(given);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      throw new ConfigError(error.problems.map((problem) => problem.replace(/^[A-Z_]+:? ?/, '')));
    }
  });

function parseJson(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ConfigError([`${name}: is not JSON`]);
  }
}

/** LiteLLM's own table is 1.5 MB: a file, and no variable. */
function readPriceFile(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    throw new ConfigError([`PRICES_FILE: cannot be read`]);
  }
  return parseJson('PRICES_FILE', text);
}

function parsePatterns(text: string | undefined): RegExp[] {
  if (text === undefined) return [];
  const list = z.safeParse(z.array(z.string().check(z.minLength(1))), parseJson('REDACT', text));
  if (!list.success) throw new ConfigError(['REDACT: must be a JSON list of regular expressions']);
  return list.data.map((source) => {
    try {
      return new RegExp(source, 'gu');
    } catch {
      throw new ConfigError([`REDACT: ${source} is no regular expression`]);
    }
  });
}

export const settings = z.object({
  ...authSettings,
  // A signature is over the whole body: nothing could be passed on before its last byte.
  AUTH: listOf(['api-key', 'none'], ['api-key']),
  ...logSettings,
  ...storeSettings,
  BACKENDS: optionalText(),
  BACKEND_URL: optionalUrl(),
  BACKEND_KIND: oneOf(['openai', 'ollama', 'anthropic', 'plain'], 'plain'),
  'backend-api-key': optionalSecret(),
  OLLAMA_URL: optionalUrl(),
  OLLAMA_MODEL: text('llama2'),
  'openai-api-key': optionalSecret(),
  OPENAI_BASE_URL: urlOr('https://api.openai.com'),
  OPENAI_MODEL: text('gpt-4o-mini'),
  VAST_WORKER: flag(false),
  VAST_ENDPOINT: optionalText(),
  'vast-api-key': optionalSecret(),
  'vast-account-key': optionalSecret(),
  VAST_URL: urlOr('https://run.vast.ai'),
  VAST_CONSOLE_URL: urlOr('https://console.vast.ai'),
  VAST_DEFAULT_COST: integer({ fallback: 100, min: 1, max: 1_000_000_000 }),
  VAST_WAIT_S: seconds(60),
  VAST_CA_FILE: fileText(),
  MODEL_ALIASES: setting(parseAliases),
  COMPLETION_MODEL: optionalText(),
  COMPLETION_FALLBACK: flag(true),
  COMPLETION_TIMEOUT_MS: integer({ fallback: 1_200_000, min: 1, max: 86_400_000 }),
  BACKEND_CONNECT_TIMEOUT_MS: milliseconds(10_000),
  BACKEND_FIRST_BYTE_TIMEOUT_MS: milliseconds(1_200_000),
  BACKEND_IDLE_TIMEOUT_MS: milliseconds(600_000),
  BACKEND_TOTAL_TIMEOUT_MS: milliseconds(0),
  RETRIES: integer({ fallback: 2, max: 10 }),
  RETRY_BASE_MS: milliseconds(250),
  RETRY_MAX_WAIT_MS: milliseconds(10_000),
  RETRY_BODY_BYTES: integer({ fallback: 1024 * 1024, max: 256 * 1024 * 1024 }),
  BREAKER_FAILURES: integer({ fallback: 5, max: 10_000 }),
  BREAKER_WINDOW_MS: milliseconds(30_000),
  BREAKER_OPEN_MS: milliseconds(15_000),
  HEALTHCHECK_ENDPOINT: optional(matching(/^\//, 'must be a path')),
  HEALTHCHECK_INTERVAL_S: seconds(10),
  READY_TIMEOUT: seconds(1_200),
  ALLOW_PARALLEL: flag(true),
  MAX_CONCURRENCY: integer({ fallback: 0, max: 100_000 }),
  MAX_QUEUE: integer({ fallback: 1_000, max: 100_000 }),
  MAX_WAIT_TIME: seconds(10),
  CANCEL_ON_DISCONNECT: flag(true),
  SSE_PING_S: seconds(15),
  STREAM_PADDING: oneOf(['off', 'auto'], 'off'),
  OWN_ROUTES: oneOf(['short', 'prefixed'], 'short'),
  CORS_ORIGINS: list(),
  CALLERS: parsed((text) => (text === undefined ? new Map() : parsePolicies(text)) as Policies),
  FORWARD_AUTHORIZATION: flag(false),
  COLLECT_STREAM_USAGE: flag(false),
  PRICES_FILE: parsed((path) => (path === undefined ? {} : readPriceFile(path))),
  PRICES: parsed((text) => (text === undefined ? {} : parseJson('PRICES', text))),
  RECORD_CALLS: flag(true),
  HISTORY_DAYS: integer({ fallback: 30, max: 3_650 }),
  HISTORY_RECORDS: integer({ fallback: 20_000, min: 1_000 }),
  HISTORY_CONTENT: oneOf(['none', 'full'], 'none'),
  HISTORY_CONTENT_BYTES: integer({ fallback: 16_384, min: 1, max: 1024 * 1024 }),
  HISTORY_REDACT: parsed(parsePatterns),
  USAGE_WEBHOOK_URL: optionalUrl(),
  'usage-webhook-secret': optionalSecret(),
  'usage-webhook-key': optionalSecret(),
  OTEL_EXPORTER_OTLP_ENDPOINT: optionalUrl(),
  'otel-exporter-otlp-headers': optionalSecret(),
  OTEL_SERVICE_NAME: text('completion-proxy'),
  'honeybadger-api-key': optionalSecret(),
  HONEYBADGER_ENDPOINT: urlOr('https://api.honeybadger.io'),
  HONEYBADGER_ENV: text('production'),
  LOGS_LINES: integer({ fallback: 1_000, max: 100_000 }),
  HISTORY_LINES: integer({ fallback: 1_000, max: 100_000 }),
});

export type Settings = z.infer<typeof settings>;

/** Everything that the function is told: its settings, and the backends made of them. */
export interface Config {
  settings: Settings;
  backends: Backend[];
  prices: Prices;
}

const toDefaults = (given: Settings): BackendDefaults => ({
  timeouts: {
    connectMs: given.BACKEND_CONNECT_TIMEOUT_MS,
    firstByteMs: given.BACKEND_FIRST_BYTE_TIMEOUT_MS,
    idleMs: given.BACKEND_IDLE_TIMEOUT_MS,
    totalMs: given.BACKEND_TOTAL_TIMEOUT_MS,
  },
  maxConcurrency: given.ALLOW_PARALLEL ? given.MAX_CONCURRENCY || Number.POSITIVE_INFINITY : 1,
  cancelOnDisconnect: given.CANCEL_ON_DISCONNECT,
  forwardAuthorization: given.FORWARD_AUTHORIZATION,
  collectStreamUsage: given.COLLECT_STREAM_USAGE,
  healthPath: given.HEALTHCHECK_ENDPOINT,
  vast: {
    url: given.VAST_URL,
    consoleUrl: given.VAST_CONSOLE_URL,
    apiKey: given['vast-api-key'],
    accountKey: given['vast-account-key'],
    defaultCost: given.VAST_DEFAULT_COST,
    waitMs: given.VAST_WAIT_S,
    ca: given.VAST_CA_FILE,
  },
});

/** `OLLAMA_URL` is an origin, or the full `/api/generate` as the predecessor had it. */
const toOllamaBase = (url: string) => url.replace(/\/api\/generate\/?$/, '');

/** BACKENDS, else the one of BACKEND_URL, OLLAMA_URL, VAST_ENDPOINT and openai-api-key that comes first; none is an empty list. */
async function readBackends(given: Settings, secret: (name: string) => Secret): Promise<Backend[]> {
  const { BACKENDS, BACKEND_URL, OLLAMA_URL } = given;
  const defaults = toDefaults(given);
  if (BACKENDS !== undefined) {
    const beside = [BACKEND_URL && 'BACKEND_URL', OLLAMA_URL && 'OLLAMA_URL'].filter((name) => name !== undefined);
    if (beside.length > 0) throw new ConfigError(beside.map((name) => `${name}: has no meaning beside BACKENDS`));
    // Loaded when there is a list: its schema takes longer to make than all of the settings.
    const { parseBackends } = await import('./backends/parse.ts');
    return parseBackends(BACKENDS, defaults, secret);
  }
  if (BACKEND_URL !== undefined) {
    const key = given['backend-api-key'];
    const credential = key?.read() === undefined ? undefined : key;
    return [toBackend({ name: 'backend', url: BACKEND_URL, kind: given.BACKEND_KIND, credential }, defaults)];
  }
  if (OLLAMA_URL !== undefined) {
    return [toBackend({ name: 'ollama', url: toOllamaBase(OLLAMA_URL), kind: 'ollama' }, defaults)];
  }
  if (given.VAST_ENDPOINT !== undefined) {
    return [toVastBackend({ name: 'vast', endpoint: given.VAST_ENDPOINT }, defaults)];
  }
  const credential = given['openai-api-key'];
  if (credential?.read() === undefined) return [];
  return [toBackend({ name: 'openai', url: given.OPENAI_BASE_URL, kind: 'openai', credential }, defaults)];
}

/** Settings that live on records, and would do nothing without them. */
function refuseUnrecorded({ RECORD_CALLS, CALLERS, USAGE_WEBHOOK_URL, OTEL_EXPORTER_OTLP_ENDPOINT }: Settings) {
  if (RECORD_CALLS) return;
  const needing = [
    CALLERS.size > 0 && 'CALLERS',
    USAGE_WEBHOOK_URL !== undefined && 'USAGE_WEBHOOK_URL',
    OTEL_EXPORTER_OTLP_ENDPOINT !== undefined && 'OTEL_EXPORTER_OTLP_ENDPOINT',
  ].filter((name) => name !== false);
  if (needing.length > 0) throw new ConfigError(needing.map((name) => `${name}: needs RECORD_CALLS=true`));
}

/** Throws ConfigError that names every bad setting and shows no value. */
export async function readConfig(env: NodeJS.ProcessEnv): Promise<Config> {
  const given = loadSettings(settings, env);
  refuseUnrecorded(given);
  const prices = readPrices(
    { name: 'our own table', table: defaultPrices },
    { name: 'PRICES_FILE', table: given.PRICES_FILE },
    { name: 'PRICES', table: given.PRICES },
  );
  return { settings: given, prices, backends: await readBackends(given, (name) => readSecret(name, env)) };
}
