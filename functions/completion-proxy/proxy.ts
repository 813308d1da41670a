import { type AuthCall, type Authenticate, createAuthenticate } from '#shared/auth/authenticate.ts';
import { defineFunction } from '#shared/http/define.ts';
import type { Handler } from '#shared/http/function.ts';
import { createLogger } from '#shared/log.ts';
import { type AccountingParts, contentRuleOf, openAccounting } from './accounting.ts';
import { alertRoute, openAlerts } from './alerts/open.ts';
import { checkOf } from './backends/diagnosis.ts';
import { watchHealth } from './backends/health.ts';
import { isGlob } from './backends/patterns.ts';
import { createPools } from './backends/pools.ts';
import { createUpstream } from './backends/upstream.ts';
import { entriesForNobody } from './callers/policy.ts';
import type { CompletionKind } from './completion/dialects.ts';
import { createGenerate } from './completion/generate.ts';
import type { Config } from './config.ts';
import { toErrorBody } from './dialect.ts';
import { withDoor } from './door.ts';
import { createProxyHandler } from './handler.ts';
import { createJournal } from './journal.ts';
import { createCors } from './own/cors.ts';
import { createFindRoute, createOwnRoutes } from './own/routes.ts';
import { createRoad } from './road/road.ts';
import { endpointsRoute } from './vast/routes.ts';

const clock = () => performance.now();
const now = () => new Date();

/** The model of a `/completion` that names none. */
function toModelOf({ settings, backends }: Config) {
  const { COMPLETION_MODEL, OLLAMA_MODEL, OPENAI_MODEL } = settings;
  const defaults: Record<CompletionKind, string> = {
    ollama: OLLAMA_MODEL,
    openai: OPENAI_MODEL,
    vast: OPENAI_MODEL,
    anthropic: 'claude-sonnet-4-5',
  };
  return (kind: CompletionKind): string => {
    if (COMPLETION_MODEL !== undefined) return COMPLETION_MODEL;
    const named = backends
      .filter((backend) => backend.kind === kind)
      .flatMap(({ models, aliases }) => [...(models?.texts ?? []), ...aliases.keys()]);
    return named.find((name) => !isGlob(name)) ?? defaults[kind];
  };
}

/** What a test asks for beside the settings. */
type Watching = Pick<AccountingParts, 'sink' | 'maxWaiting'>;

/** The whole function from its settings; `close` ends the health checks and lets the backends' connections go. */
export function createProxy(
  config: Config,
  watching: Watching = {},
  anyKey: Authenticate = createAuthenticate(config.settings, 'completion-proxy'),
): Handler {
  const { settings, backends } = config;
  // Their Authorization is then the backend's: only X-Api-Key is looked at. Nothing is passed on of what is read below
  // /_proxy, and a browser that opens our page has no other way to show a key.
  const isOurs = ({ method, path, headers }: AuthCall) =>
    method === 'GET' && path.startsWith('/_proxy/') && headers['x-api-key'] === undefined;
  const authenticate: Authenticate = settings.FORWARD_AUTHORIZATION
    ? (call) => anyKey(isOurs(call) ? call : { ...call, headers: { ...call.headers, authorization: undefined } })
    : anyKey;
  const alerts = openAlerts({
    key: settings['honeybadger-api-key'],
    endpoint: settings.HONEYBADGER_ENDPOINT,
    environment: settings.HONEYBADGER_ENV,
    redact: settings.HISTORY_REDACT,
  });
  const ownLog = alerts.watch(createLogger({ level: settings.LOG_LEVEL }));
  const { CALLERS, AUTH } = settings;
  const nobody = entriesForNobody(CALLERS, settings['function-api-key'].read() ?? '', AUTH.includes('none'));
  if (nobody.length > 0) ownLog.warn('CALLERS names keys that are not in function-api-key', { callers: nobody });
  const pools = createPools();
  const upstreams = backends.map((backend) =>
    createUpstream(backend, {
      breaker: {
        failures: settings.BREAKER_FAILURES,
        windowMs: settings.BREAKER_WINDOW_MS,
        openMs: settings.BREAKER_OPEN_MS,
      },
      gate: { maxQueue: settings.MAX_QUEUE, maxWaitMs: settings.MAX_WAIT_TIME },
      clock,
    }),
  );
  const health = watchHealth(upstreams, {
    find: pools.find,
    // One backend has nobody to take its place: it is asked only when somebody wants to know.
    intervalMs:
      upstreams.length > 1 || settings.HEALTHCHECK_ENDPOINT !== undefined ? settings.HEALTHCHECK_INTERVAL_S : 0,
    readyTimeoutMs: settings.READY_TIMEOUT,
    log: ownLog,
  });
  const journal = createJournal({
    logsLines: settings.LOGS_LINES,
    historyLines: settings.HISTORY_LINES,
    content: contentRuleOf(settings),
  });
  const accounting = openAccounting(settings, {
    upstreams,
    journal,
    log: ownLog,
    prices: config.prices,
    now: Date.now,
    clock,
    ...watching,
  });
  const { limits } = accounting;
  const road = createRoad({
    upstreams,
    find: pools.find,
    modelAliases: settings.MODEL_ALIASES,
    retryBodyBytes: settings.RETRY_BODY_BYTES,
    ssePingMs: settings.SSE_PING_S,
    retries: settings.RETRIES,
    retryBaseMs: settings.RETRY_BASE_MS,
    retryMaxWaitMs: settings.RETRY_MAX_WAIT_MS,
    readsAll: settings.CALLERS.size > 0,
    ...(accounting.observe === undefined ? {} : { observe: accounting.observe }),
    admit: limits.admit,
    onPadded: settings.STREAM_PADDING === 'auto' ? accounting.padded : undefined,
  });
  const routes = createOwnRoutes({
    completion: {
      generate: createGenerate({ road, backends, modelOf: toModelOf(config) }),
      journal,
      fallback: settings.COMPLETION_FALLBACK,
      timeoutMs: settings.COMPLETION_TIMEOUT_MS,
      now,
      clock,
    },
    models: {
      upstreams,
      find: pools.find,
      modelAliases: settings.MODEL_ALIASES,
      mayUse: ({ name }, model) => limits.mayUse(name, model),
    },
    health,
    records: [
      ...accounting.routes,
      alertRoute(alerts, limits),
      endpointsRoute(
        backends,
        { key: () => settings['vast-account-key']?.read(), consoleUrl: settings.VAST_CONSOLE_URL },
        limits,
      ),
    ],
    now,
  });
  const findRoute = createFindRoute(routes, settings.OWN_ROUTES);
  const cors = createCors(settings.CORS_ORIGINS);
  const hasProxyPrefix = settings.OWN_ROUTES === 'short';
  const inner = createProxyHandler({
    upstreams,
    road,
    findRoute,
    hasProxyPrefix,
    withoutCors: cors !== undefined,
    limits,
  });
  const diagnosis = {
    path: '/_proxy/doctor',
    upstreams: backends.map((backend) => checkOf(backend, pools.find)),
    isDurable: accounting.isDurable,
  };
  const handler = withDoor(defineFunction({ authenticate, errorBody: toErrorBody, diagnosis }, inner), {
    findRoute,
    cors,
    journal,
    watch: alerts.prove === undefined ? undefined : alerts.watch,
  });
  return Object.assign(handler, {
    async close() {
      health.close();
      await pools.close();
      await accounting.close();
      await alerts.close();
    },
  });
}
