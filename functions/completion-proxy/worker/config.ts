import * as z from 'zod/mini';
import { logSettings } from '#shared/config/common.ts';
import {
  flag,
  integer,
  list,
  listOf,
  loadSettings,
  matching,
  optional,
  optionalSecret,
  optionalText,
  parseHttpUrl,
  seconds,
  setting,
  text,
  urlOr,
} from '#shared/config/settings.ts';
import { ConfigError } from '#shared/errors.ts';
import { signatureForms } from '../vast/signature.ts';

export const settings = z.object({
  ...logSettings,
  VAST_WORKER: flag(false),
  BACKEND_URL: urlOr('http://localhost:8000'),
  'backend-api-key': optionalSecret(),
  MODEL_NAME: optionalText(),
  BENCHMARK: optionalText(),
  BENCHMARK_CACHE_FILE: text('.has_benchmark'),
  HEALTHCHECK_ENDPOINT: optional(matching(/^\//, 'must be a path')),
  HEALTHCHECK_RETRY_INTERVAL: seconds(5),
  HEALTHCHECK_POLL_INTERVAL: seconds(10),
  HEALTHCHECK_TIMEOUT: seconds(10),
  HEALTHCHECK_CONSECUTIVE_FAILURES: integer({ fallback: 3, min: 1, max: 1_000 }),
  READY_TIMEOUT: seconds(1_200),
  READY_TIMEOUT_RESUME: seconds(300),
  ALLOW_PARALLEL: flag(true),
  MAX_CONCURRENCY: integer({ fallback: 0, max: 100_000 }),
  MAX_WAIT_TIME: seconds(10),
  DEFAULT_COST: setting((given = '0') => Number(matching(/^\d{1,12}(\.\d{1,6})?$/, 'must be a number')(given))),
  BLOCKED_PATHS: list(),
  WORKER_HOST: text('0.0.0.0'),
  WORKER_PORT: integer({ fallback: 3_000, max: 65_535 }),
  USE_SSL: flag(false),
  VAST_CERT_FILE: text('/etc/instance.crt'),
  VAST_KEY_FILE: text('/etc/instance.key'),
  UNSECURED: flag(false),
  VAST_SIGNATURE_FORM: listOf(signatureForms, ['url', 'five-fields']),
  VAST_REPLAY_CHECK: flag(false),
  PUBKEY_TIMEOUT: seconds(10),
  PUBKEY_REFRESH_INTERVAL: seconds(10),
  'master-token': optionalSecret(),
  REPORT_ADDR: list(),
  CONTAINER_ID: optional(matching(/^\d{1,15}$/, 'must be a number')),
  PUBLIC_IPADDR: optionalText(),
  METRICS_UPDATE_INTERVAL: seconds(1),
  DELETE_REQUESTS_INTERVAL: seconds(1),
  METRICS_RETRY_DELAY: seconds(2),
  METRICS_MAX_RETRIES: integer({ fallback: 3, min: 1, max: 100 }),
  METRICS_TIMEOUT: seconds(10),
  VAST_ENDPOINT: optionalText(),
  'vast-api-key': optionalSecret(),
});

export type WorkerSettings = z.infer<typeof settings>;

export interface WorkerConfig {
  settings: WorkerSettings;
  /** Where to report and as whom; undefined for local development. */
  vast: { addresses: string[]; containerId: number; url: string } | undefined;
  /** Where the public key is asked for, in this order. */
  keyAddresses: string[];
}

/** Two versions of the predecessor put their name before each variable. */
const oldName = /^(?:VESPA|PYWORKER)_(\w+)$/;
/** And called one of them otherwise. */
const otherNames: Record<string, string> = { READY_TIMEOUT_INITIAL: 'READY_TIMEOUT' };

/** The environment with the predecessors' names said in ours; ours win. */
export function withOldNames(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const named = { ...env };
  for (const [name, value] of Object.entries(env)) {
    const bare = oldName.exec(name)?.[1];
    const ours = bare === undefined ? undefined : (otherNames[bare] ?? bare);
    if (ours !== undefined && !env[ours]?.trim()) named[ours] = value;
  }
  return named;
}

function isPlainUrl(address: string): boolean {
  try {
    return parseHttpUrl(address) !== '';
  } catch {
    return false;
  }
}
const withoutSlash = (address: string) => address.replace(/\/+$/, '');

/** Throws ConfigError that names every bad setting, and every one of Vast's that is missing where one is there. */
export function readWorkerConfig(given: NodeJS.ProcessEnv): WorkerConfig {
  const env = withOldNames(given);
  const read = loadSettings(settings, env);
  const { REPORT_ADDR, CONTAINER_ID, PUBLIC_IPADDR, WORKER_PORT } = read;
  const portName = `VAST_TCP_PORT_${WORKER_PORT}`;
  const publicPort = env[portName]?.trim();
  const addresses = REPORT_ADDR.map(withoutSlash);
  if (!addresses.every(isPlainUrl)) {
    throw new ConfigError(['REPORT_ADDR: takes URLs that start with http:// or https://, without credentials']);
  }
  const keyAddresses = addresses.length > 0 ? addresses : ['https://run.vast.ai'];
  const values = { REPORT_ADDR: addresses[0], CONTAINER_ID, PUBLIC_IPADDR, [portName]: publicPort };
  const missing = Object.keys(values).filter((name) => !values[name]);
  if (missing.length === Object.keys(values).length) return { settings: read, vast: undefined, keyAddresses };
  if (missing.length > 0) {
    throw new ConfigError(missing.map((name) => `${name}: is missing, and others of Vast's are there`));
  }
  const url = `${read.USE_SSL ? 'https' : 'http'}://${PUBLIC_IPADDR}:${publicPort}`;
  return { settings: read, vast: { addresses, containerId: Number(CONTAINER_ID), url }, keyAddresses };
}
