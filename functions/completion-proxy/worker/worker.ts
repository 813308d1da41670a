import { readFileSync } from 'node:fs';
import { createHttpClient } from '#shared/clients/http.ts';
import { ConfigError } from '#shared/errors.ts';
import type { Handler } from '#shared/http/function.ts';
import { createLogger, type Logger } from '#shared/log.ts';
import { Gate } from '../road/admission.ts';
import {
  type BenchmarkTarget,
  measureRuns,
  readCached,
  wasMeasured,
  withModel,
  writeCached,
} from './benchmark/benchmark.ts';
import { readWorkerConfig, type WorkerConfig } from './config.ts';
import { createForward } from './forward.ts';
import { createWorkerHandler } from './handler.ts';
import { createLife } from './life.ts';
import { Load } from './load.ts';
import { createReporter } from './reporter.ts';
import { createReplayCheck, createVerifier } from './verifier.ts';

const clock = () => performance.now();
const longestQueueMs = 86_400_000;

function readPem(name: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    throw new ConfigError([`${name}: ${file} cannot be read; get a certificate first, or set USE_SSL=false`]);
  }
}

function listenOf({ settings }: WorkerConfig): Handler['listen'] {
  const { WORKER_HOST: host, WORKER_PORT: port, USE_SSL, VAST_CERT_FILE, VAST_KEY_FILE } = settings;
  if (!USE_SSL) return { host, port };
  const tls = { cert: readPem('VAST_CERT_FILE', VAST_CERT_FILE), key: readPem('VAST_KEY_FILE', VAST_KEY_FILE) };
  return { host, port, tls };
}

/** The first address that gives a key. */
export async function fetchKey({ keyAddresses, settings }: WorkerConfig, signal: AbortSignal): Promise<string> {
  let failure: unknown;
  for (const address of keyAddresses) {
    try {
      const client = createHttpClient({
        service: 'The autoscaler',
        baseUrl: address,
        timeoutMs: settings.PUBKEY_TIMEOUT,
        attempts: 1,
      });
      return (await client.request({ path: '/pubkey/', signal })).text;
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

function openReporter({ settings, vast }: WorkerConfig, load: Load, log: Logger) {
  if (vast === undefined) return undefined;
  return createReporter({
    load,
    clients: vast.addresses.map((address) => ({
      address,
      client: createHttpClient({
        service: 'The autoscaler',
        baseUrl: address,
        timeoutMs: settings.METRICS_TIMEOUT,
        attempts: 1,
      }),
    })),
    containerId: vast.containerId,
    masterToken: () => settings['master-token']?.read() ?? '',
    url: vast.url,
    statusEveryMs: settings.METRICS_UPDATE_INTERVAL,
    deletionsEveryMs: settings.DELETE_REQUESTS_INTERVAL,
    retryDelayMs: settings.METRICS_RETRY_DELAY,
    attempts: settings.METRICS_MAX_RETRIES,
    log,
  });
}

function warn({ settings, vast }: WorkerConfig, log: Logger) {
  if (settings.UNSECURED) log.warn('UNSECURED=true: anybody who reaches this port is served');
  if (vast === undefined) log.info('none of the variables of Vast.ai is there: nothing is reported');
  else if (settings['master-token']?.read() === undefined) log.warn('MASTER_TOKEN is missing: reports carry none');
  if (settings.BENCHMARK === undefined) {
    log.warn('BENCHMARK is missing: the throughput is taken as 1.0', { max_wait_time: 'not held without Vast.ai' });
  }
}

/** The worker role: what PyWorker does on the GPU machine. Throws ConfigError for bad and for missing settings. */
export function createWorker(env: NodeJS.ProcessEnv): Handler {
  const config = readWorkerConfig(env);
  const { settings, vast } = config;
  const log = createLogger({ level: settings.LOG_LEVEL });
  const listen = listenOf(config);
  warn(config, log);
  const load = new Load({ isTold: vast !== undefined });
  const { forward, askHealth, headers, close } = createForward(settings.BACKEND_URL, settings['backend-api-key']);
  const reporter = openReporter(config, load, log);
  const verifier = settings.UNSECURED
    ? undefined
    : createVerifier({
        fetchKey: (signal) => fetchKey(config, signal),
        forms: settings.VAST_SIGNATURE_FORM,
        refreshEveryMs: settings.PUBKEY_REFRESH_INTERVAL,
        log,
      });
  const target: BenchmarkTarget = {
    name: settings.BENCHMARK ?? '1.0',
    backendUrl: settings.BACKEND_URL,
    model: settings.MODEL_NAME,
    headers,
  };
  const cacheFile = settings.BENCHMARK_CACHE_FILE;
  const life = createLife({
    askHealth: (signal) => askHealth(settings.HEALTHCHECK_ENDPOINT ?? '/health', signal, settings.HEALTHCHECK_TIMEOUT),
    isNamed: settings.HEALTHCHECK_ENDPOINT !== undefined,
    wasMeasured: () => wasMeasured(cacheFile, target),
    cached: async (signal) => readCached(cacheFile, await withModel(target, signal)),
    async benchmark(signal) {
      const measured = await withModel(target, signal);
      const throughput = Math.max(...(await measureRuns(measured, { signal, log })));
      await writeCached(cacheFile, measured, throughput).catch((error: Error) =>
        log.warn('the result of the benchmark was not kept', { file: cacheFile, reason: error.message }),
      );
      return throughput;
    },
    readyTimeoutMs: settings.READY_TIMEOUT,
    resumeTimeoutMs: settings.READY_TIMEOUT_RESUME,
    retryEveryMs: settings.HEALTHCHECK_RETRY_INTERVAL,
    pollEveryMs: settings.HEALTHCHECK_POLL_INTERVAL,
    failuresToError: settings.HEALTHCHECK_CONSECUTIVE_FAILURES,
    onLoaded(throughput, loadTimeS) {
      load.throughput = throughput;
      reporter?.loaded(loadTimeS);
    },
    onError: (error) => reporter?.errored(error),
    log,
  });
  const handler = createWorkerHandler({
    load,
    gate: new Gate({
      maxConcurrency: settings.ALLOW_PARALLEL ? settings.MAX_CONCURRENCY || Number.POSITIVE_INFINITY : 1,
      maxQueue: Number.POSITIVE_INFINITY,
      maxWaitMs: longestQueueMs,
      clock,
    }),
    forward,
    verifier,
    replay: settings.VAST_REPLAY_CHECK ? createReplayCheck() : undefined,
    blockedPaths: settings.BLOCKED_PATHS,
    // Without a measured throughput and without Vast.ai the rule would stand on nothing.
    maxWaitS:
      vast === undefined && settings.BENCHMARK === undefined
        ? Number.POSITIVE_INFINITY
        : settings.MAX_WAIT_TIME / 1_000,
    defaultCost: settings.DEFAULT_COST,
    clock,
  });
  void verifier?.start();
  reporter?.start();
  void life.run();
  return Object.assign(handler, {
    ...(listen === undefined ? {} : { listen }),
    async close() {
      verifier?.close();
      life.close();
      await reporter?.close();
      await close();
    },
  });
}
