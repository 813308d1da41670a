import type { Secret } from '#shared/config/secrets.ts';
import type { VastTarget } from '../vast/target.ts';
import type { Patterns } from './patterns.ts';

export const kinds = ['openai', 'ollama', 'anthropic', 'plain', 'vast'] as const;
export type BackendKind = (typeof kinds)[number];

/** In ms; 0 is no limit. */
export interface BackendTimeouts {
  /** For a connection, TLS included. */
  connectMs: number;
  /** From the request to the first byte of the answer (of its body, on the routes of a model). */
  firstByteMs: number;
  /** Between two chunks of the answer, while the caller takes them. */
  idleMs: number;
  /** The whole call of this backend. */
  totalMs: number;
}

/** A server behind us, as the settings have it. */
export interface Backend {
  name: string;
  kind: BackendKind;
  origin: string;
  /** Comes before the caller's own target; no trailing slash. */
  basePath: string;
  /** Sent in place of what the caller sent. Read for each call: the secret may come or change while we run. */
  credential?: Secret | undefined;
  /** The models it serves; undefined is any. */
  models?: Patterns | undefined;
  /** What it calls a model that callers name otherwise. */
  aliases: ReadonlyMap<string, string>;
  /** The paths it serves; undefined leaves it to the kind. */
  paths?: Patterns | undefined;
  /** Backends of a lower order are asked first; those of the same order share the load. */
  order: number;
  /** Its share among equals. */
  weight: number;
  /** Calls at a time; Infinity is no limit. */
  maxConcurrency: number;
  /** false: its work goes on when the caller leaves, and the rest of its answer is read and dropped. */
  cancelOnDisconnect: boolean;
  /** The caller's `Authorization` reaches it; false without it. */
  forwardAuthorization?: boolean | undefined;
  /** Asked for the usage of a stream where the caller did not ask for it. */
  collectStreamUsage?: boolean | undefined;
  /** It logs and bills its calls itself. */
  billedBy?: 'litellm' | undefined;
  /** Asked by the health check; undefined is no check. */
  healthPath?: string | undefined;
  timeouts: BackendTimeouts;
  /** Attempts after the first; undefined is what the settings say. */
  retries?: number | undefined;
  /** Kind `vast`: its address is the autoscaler's, which names a worker for each call. */
  vast?: VastTarget | undefined;
}

/** What a kind is asked to see whether it is well. */
export const healthPathOf: Record<BackendKind, string | undefined> = {
  openai: '/v1/models',
  anthropic: '/v1/models',
  ollama: '/api/version',
  plain: undefined,
  // A question to a worker would count as load, and wake one.
  vast: undefined,
};

/** The fields that carry the credential of a backend, and the ones of the caller that give way to it. */
export function credentialFields({ kind }: Backend, key: string): { name: string; value: string } {
  return kind === 'anthropic' ? { name: 'x-api-key', value: key } : { name: 'Authorization', value: `Bearer ${key}` };
}
