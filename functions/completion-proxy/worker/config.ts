import * as z from 'zod';
import { logSettings } from '#shared/config/common.ts';
import { flag, httpUrl, integer, list, loadSettings, optionalSecret, seconds } from '#shared/config/settings.ts';
import { ConfigError } from '#shared/errors.ts';
import { type SignatureForm, signatureForms } from '../vast/signature.ts';

const forms = () =>
  list()
    .optional()
    .transform((names = ['url', 'five-fields'], context) => {
      const known = new Set<string>(signatureForms);
      if (names.length > 0 && names.every((name) => known.has(name))) return names as SignatureForm[];
      context.addIssue(`takes a comma list of ${signatureForms.join(', ')}`);
      return z.NEVER;
    });

export const settings = z.object({
  ...logSettings,
  VAST_WORKER: flag(false),
  BACKEND_URL: httpUrl().default('http://localhost:8000'),
  'backend-api-key': optionalSecret(),
  MODEL_NAME: z.string().optional(),
  BENCHMARK: z.string().optional(),
  BENCHMARK_CACHE_FILE: z.string().default('.has_benchmark'),
  HEALTHCHECK_ENDPOINT: z.string().startsWith('/', 'must be a path').optional(),
  HEALTHCHECK_RETRY_INTERVAL: seconds(5),
  HEALTHCHECK_POLL_INTERVAL: seconds(10),
  HEALTHCHECK_TIMEOUT: seconds(10),
  HEALTHCHECK_CONSECUTIVE_FAILURES: integer({ fallback: 3, min: 1, max: 1_000 }),
  READY_TIMEOUT: seconds(1_200),
  READY_TIMEOUT_RESUME: seconds(300),
  ALLOW_PARALLEL: flag(true),
  MAX_CONCURRENCY: integer({ fallback: 0, max: 100_000 }),
  MAX_WAIT_TIME: seconds(10),
  DEFAULT_COST: z
    .string()
    .regex(/^\d{1,12}(\.\d{1,6})?$/, 'must be a number')
    .default('0')
    .transform(Number),
  BLOCKED_PATHS: list().default([]),
  WORKER_HOST: z.string().default('0.0.0.0'),
  WORKER_PORT: integer({ fallback: 3_000, max: 65_535 }),
  USE_SSL: flag(false),
  VAST_CERT_FILE: z.string().default('/etc/instance.crt'),
  VAST_KEY_FILE: z.string().default('/etc/instance.key'),
  UNSECURED: flag(false),
  VAST_SIGNATURE_FORM: forms(),
  VAST_REPLAY_CHECK: flag(false),
  PUBKEY_TIMEOUT: seconds(10),
  PUBKEY_REFRESH_INTERVAL: seconds(10),
  'master-token': optionalSecret(),
  REPORT_ADDR: list().default([]),
  CONTAINER_ID: z
    .string()
    .regex(/^\d{1,15}$/, 'must be a number')
    .optional(),
  PUBLIC_IPADDR: z.string().optional(),
  METRICS_UPDATE_INTERVAL: seconds(1),
  DELETE_REQUESTS_INTERVAL: seconds(1),
  METRICS_RETRY_DELAY: seconds(2),
  METRICS_MAX_RETRIES: integer({ fallback: 3, min: 1, max: 100 }),
  METRICS_TIMEOUT: seconds(10),
  VAST_ENDPOINT: z.string().optional(),
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

const isPlainUrl = (address: string) => httpUrl().safeParse(address).success;
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
