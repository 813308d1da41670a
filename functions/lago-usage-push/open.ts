import { createLagoClient } from '#shared/clients/lago.ts';
import { createLagoCustomersClient } from '#shared/clients/lago-customers.ts';
import { createLagoLedgerClient } from '#shared/clients/lago-ledger.ts';
import { createLagoPlansClient } from '#shared/clients/lago-plans.ts';
import type { Logger } from '#shared/http/function.ts';
import { openStore } from '#shared/store/open.ts';
import type { Store } from '#shared/store/store.ts';
import { openLitellm, toLagoAccess } from './access.ts';
import { namesPayerInRequest } from './billing/payer.ts';
import type { Settings } from './config.ts';
import { createDeadLetterRoutes } from './delivery/dead-letter-routes.ts';
import { createDeadLetters } from './delivery/dead-letters.ts';
import { createDeliver } from './delivery/deliver.ts';
import { createHeldCalls } from './delivery/held.ts';
import { createInbox } from './delivery/inbox.ts';
import { createLate } from './delivery/late.ts';
import { createMemory } from './delivery/memory.ts';
import { createIngest } from './ingest.ts';
import { createPushMetrics } from './metrics.ts';
import { createPreflight } from './preflight/preflight.ts';
import { toRules } from './rules.ts';
import { createRollup } from './schedule/rollup.ts';
import { createRun } from './schedule/run.ts';
import type { ScheduleOptions } from './schedule/sources.ts';
import { toStateKey } from './schedule/state.ts';

const hourMs = 3_600_000;
/** Batches at once: what Lago's own documentation measures one PostgreSQL with is ten. */
const inFlight = 4;

export interface OpenOptions {
  store?: Store;
  now?: () => number;
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Ends the run that is at work. */
  signal?: AbortSignal;
  /** Where rows come from instead of LiteLLM. */
  spendRows?: ScheduleOptions['litellm']['spendRows'];
}

/** What start-up says where state does not outlive the replica. */
function warnOfStore(log: Logger, settings: Settings) {
  log.warn('no lasting store (STORE_URL): these promises are off', {
    off: [
      'dead letters and held usage are gone with the replica',
      'webhook and usage answer 200 only once Lago has everything, else 503',
      'after a restart the run begins at BILL_FROM again, and Lago refuses what it has',
      ...(settings.LATE_USAGE === 'next_period'
        ? ['LATE_USAGE=next_period holds instead, as it could not remember']
        : []),
    ],
  });
}

/** Builds everything that bills from the settings; `close` releases the store. Throws ConfigError. */
export function openPush(settings: Settings, options: OpenOptions = {}) {
  const rules = toRules(settings);
  const { now = Date.now, sleep } = options;
  const store = options.store ?? openStore({ name: 'lago-usage-push', url: settings['store-url']?.read(), now });
  const timing = sleep === undefined ? {} : { sleep };
  const litellm = openLitellm(settings, timing);
  const lagoAccess = toLagoAccess(settings, timing);
  const lago = createLagoClient(lagoAccess);
  const preflight =
    settings.PREFLIGHT === 'off'
      ? undefined
      : createPreflight({
          customers: createLagoCustomersClient(lagoAccess),
          plans: createLagoPlansClient(lagoAccess),
          ledger: createLagoLedgerClient(lagoAccess),
          currency: settings.BILLING_CURRENCY,
          now,
        });
  const { kv } = store;
  const key = toStateKey(settings.LITELLM_API_BASE_URL, settings.LAGO_API_BASE);
  const overlapMs = settings.OVERLAP_MINUTES * 60_000;
  const { SOURCES: sources, BILLING_PERIOD: period } = settings;
  const deadLetters = createDeadLetters(store, key);
  const held = createHeldCalls(store, key);
  const inbox = createInbox(store);
  const metrics = createPushMetrics();
  const deliver = createDeliver({
    lago,
    rules: rules.billing,
    events: rules.events,
    memory: createMemory({ kv, key, horizonMs: overlapMs + 24 * hourMs, now }),
    deadLetters,
    late: createLate({
      lago,
      kv,
      key,
      rule: store.durable ? settings.LATE_USAGE : 'hold',
      period,
      events: rules.events,
      now,
    }),
    preflight,
    inFlight,
    now,
  });
  const closing = new AbortController();
  const rollup = sources.has('rollup') ? createRollup({ source: litellm, kv, key }) : undefined;
  const { run, pushNow, rebill } = createRun({
    stop: options.signal === undefined ? closing.signal : AbortSignal.any([closing.signal, options.signal]),
    store,
    stateKey: key,
    lagoIsEmpty: async (signal) =>
      !(await lago.mustSendOnlyNew(signal)) ||
      (settings.BILL_FROM !== undefined && (await lago.isEmptySince(new Date(settings.BILL_FROM), signal))),
    held,
    inbox,
    deliver,
    litellm: options.spendRows === undefined ? litellm : { spendRows: options.spendRows },
    rollup,
    hasSchedule: sources.has('rows') || sources.has('rollup'),
    rulesDigest: rules.digest,
    billFrom: settings.BILL_FROM,
    overlapMs,
    lagMs: settings.SAFETY_LAG_SECONDS * 1_000,
    rollupDelayMs: settings.ROLLUP_DELAY_MINUTES * 60_000,
    period,
    runMs: settings.RUN_SECONDS * 1_000,
    metrics,
    now,
    ...timing,
  });

  let waking: Promise<void> | undefined;
  const ingest = createIngest({
    inbox: store.durable ? inbox : undefined,
    pushNow,
    // One run at a time; what comes while it works is found by its last look, or by the next tick.
    wake(log) {
      waking ??= run({ dryRun: false, log })
        .then(() => undefined)
        .catch((error: unknown) => log.warn('pushed usage waits in the store for the next run', { error }))
        .finally(() => {
          waking = undefined;
        });
    },
    hasBillFrom: settings.BILL_FROM !== undefined,
    maxBytes: settings.MAX_WEBHOOK_BYTES,
    metrics,
  });

  return {
    run,
    /** The webhook and the usage route, as far as SOURCES has them. */
    webhook: sources.has('webhook') ? ingest.webhook : undefined,
    usage: sources.has('usage') ? ingest.usage : undefined,
    deadLetters: createDeadLetterRoutes({ lago, deadLetters }),
    metrics,
    /** What reconciliation decides and bills by: the same as the push. */
    books: {
      store,
      litellm,
      rollup,
      lago,
      preflight,
      rules: rules.billing,
      events: rules.events,
      period,
      billsLate: store.durable && settings.LATE_USAGE === 'next_period',
      rebill,
      now,
    },
    /** Says once what is off. */
    warn(log: Logger) {
      if (!store.durable) warnOfStore(log, settings);
      if (namesPayerInRequest(settings.LAGO_API_CHARGE_BY) && !settings.TRUST_REQUEST_USER) {
        log.warn(
          'LAGO_API_CHARGE_BY bills whom a request names, and TRUST_REQUEST_USER is not true: such usage is held',
        );
      }
    },
    /** A run that is at work ends at once and leaves the lease to the next one. */
    async close() {
      closing.abort();
      await waking;
      await store.close();
    },
  };
}

export type Push = ReturnType<typeof openPush>;
