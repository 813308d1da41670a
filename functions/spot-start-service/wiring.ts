import type * as z from 'zod';
import { type Authenticate, createAuthenticate } from '#shared/auth/authenticate.ts';
import { createPortainerClient, type PortainerClient } from '#shared/clients/portainer.ts';
import { type CallContext, defineFunction } from '#shared/http/define.ts';
import type { Diagnosis } from '#shared/http/doctor.ts';
import type { Handler } from '#shared/http/function.ts';
import { createLogger } from '#shared/log.ts';
import { sleep as realSleep } from '#shared/retry.ts';
import { openStore } from '#shared/store/open.ts';
import type { Store } from '#shared/store/store.ts';
import { errorBody } from './answer.ts';
import type { settings } from './config.ts';
import { createListRoute, createRouter, createStartRoute } from './handler.ts';
import { createCatalog } from './resolve/catalog.ts';
import { createMemory } from './resolve/memory.ts';
import { createRegexps } from './resolve/regexp.ts';
import { createResolver } from './resolve/resolver.ts';
import { createSurveyor } from './resolve/survey.ts';
import { createActor } from './run/act.ts';
import type { Done } from './run/bring-up.ts';
import { createJobs } from './run/jobs.ts';
import { createObserver } from './run/observe.ts';
import type { Sleep } from './run/wait.ts';
import { createWatcher } from './run/watch.ts';
import type { SpotService } from './service.ts';
import { createSpotService } from './spot.ts';
import { createStackFiles } from './stack/files.ts';
import { admitVisitors } from './wake/admit.ts';
import { createWakeRoutes } from './wake/routes.ts';

export type Settings = z.infer<typeof settings>;

export interface Time {
  now: () => number;
  sleep: Sleep;
}

export interface Parts {
  portainer: PortainerClient;
  /** Undefined without STORE_URL: then Portainer's own refusals hold replicas apart. */
  store?: Store | undefined;
  time?: Time;
}

// How long a cold index waits for slow endpoints before it answers by those that were quick.
const patienceMs = 1_000;
const shutdownMs = 20_000;

/** The client as the settings have it. */
export function createClient(config: Settings): PortainerClient {
  const ca = config.PORTAINER_CA_FILE === undefined ? {} : { ca: config.PORTAINER_CA_FILE };
  return createPortainerClient({
    baseUrl: config.PORTAINER_API_URL,
    credentials: () => ({
      apiKey: config['portainer-api-key']?.read(),
      username: config['portainer-username']?.read(),
      password: config['portainer-password']?.read(),
    }),
    timeoutMs: config.PORTAINER_TIMEOUT_MS,
    tls: { ...ca, insecure: config.PORTAINER_INSECURE },
  });
}

/** Other replicas see a lease only in PostgreSQL; without it no store is opened at all, and start-up says what that means. */
export function openSharedStore(config: Settings): Store | undefined {
  const url = config['store-url']?.read();
  if (url !== undefined) return openStore({ name: 'spot-start-service', url });
  createLogger({ level: config.LOG_LEVEL }).info(
    'store-url is not set: run one replica, since several may each ask Portainer for the same start; hosts seen while a service ran are forgotten with the process',
  );
  return undefined;
}

/** The service around a client; clock and sleep are the real ones unless given. */
export function createService(
  config: Settings,
  { portainer, store, time = { now: Date.now, sleep: realSleep } }: Parts,
): { service: SpotService; close: () => Promise<void> } {
  const { now, sleep } = time;
  const files = createStackFiles(portainer);
  const jobs = createJobs<Done>({ lease: store?.lease, now, sleep });
  const { judge, observe } = createObserver({
    portainer,
    files,
    protectedNames: config.SPOT_START_PROTECTED,
    failedAtMs: jobs.failedAtMs,
    now,
  });
  const regexps = createRegexps();
  const surveyor = createSurveyor({ portainer, files, endpointTimeoutMs: config.ENDPOINT_TIMEOUT_MS });
  const catalog = createCatalog({
    surveyor,
    memory: createMemory(store),
    ttlMs: config.INDEX_TTL_MS,
    loadRegexps: regexps.load,
    now,
  });
  const resolver = createResolver({
    catalog,
    judge,
    map: config.SPOT_START_HOSTS,
    matches: regexps.matches,
    nameDomains: config.SPOT_START_NAME_DOMAINS,
    requireLabel: config.SPOT_START_REQUIRE_LABEL,
    patience: () => sleep(patienceMs),
  });
  const startTimeoutMs = config.START_TIMEOUT_MS;
  const watcher = createWatcher({ observe, startTimeoutMs, now, sleep });
  const actor = createActor({ portainer, observe, watcher, startTimeoutMs });
  const service = createSpotService({
    resolver,
    observe,
    actor,
    watcher,
    jobs,
    requireLabel: config.SPOT_START_REQUIRE_LABEL,
    allowStop: config.SPOT_START_ALLOW_STOP,
    now,
    sleep,
  });
  return {
    service,
    async close() {
      await jobs.settle(shutdownMs);
      await store?.close();
    },
  };
}

/** What `npm run doctor` asks. Anybody may read Portainer's version, so the list shows that the credential is taken too. */
const diagnose = ({ portainer, store }: Parts): Diagnosis => ({
  upstreams: [
    {
      name: 'Portainer',
      settings:
        'PORTAINER_API_URL, PORTAINER_CA_FILE, PORTAINER_INSECURE, portainer-api-key or portainer-username and portainer-password',
      async check(signal) {
        const [version] = await Promise.all([portainer.version({ signal }), portainer.listEndpoints({ signal })]);
        return version;
      },
    },
  ],
  // Without a store there is nothing that would have to survive.
  ...(store === undefined ? {} : { isDurable: store.durable }),
});

/** The whole function around a client and a store. */
export function createFunction(
  config: Settings,
  parts: Parts,
  known: Authenticate = createAuthenticate(config, 'spot-start-service'),
): Handler {
  const { service, close } = createService(config, parts);
  const now = parts.time?.now ?? Date.now;
  const scope = ({ log, signal }: CallContext) => ({ log, signal, endsAtMs: now() + config.DEADLINE_MS });
  const routes = [
    { method: 'POST', path: '/', run: createStartRoute({ service, scope }) },
    { method: 'GET', path: '/services', run: createListRoute({ service, scope }) },
    ...createWakeRoutes({ service, scope, now }),
  ];
  const authenticate = admitVisitors(known, config.SPOT_START_PUBLIC_WAKE);
  const handler: Handler = defineFunction(
    { authenticate, errorBody, diagnosis: diagnose(parts) },
    createRouter(routes),
  );
  handler.close = close;
  return handler;
}

/** The whole function as the settings have it. */
export const openFunction = (config: Settings, known: Authenticate): Handler =>
  createFunction(config, { portainer: createClient(config), store: openSharedStore(config) }, known);
