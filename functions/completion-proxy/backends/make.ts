import type { Secret } from '#shared/config/secrets.ts';
import { ConfigError } from '#shared/errors.ts';
import type { VastTarget } from '../vast/target.ts';
import { type Backend, type BackendKind, type BackendTimeouts, healthPathOf } from './backend.ts';

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
