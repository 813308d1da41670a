import { signBody } from '#shared/auth/keys.ts';
import { createHttpClient } from '#shared/clients/http.ts';
import type { Logger } from '#shared/log.ts';
import { openStore } from '#shared/store/open.ts';
import type { Store } from '#shared/store/store.ts';
import type { UsageRecord } from '#shared/usage.ts';
import type { Upstream } from './backends/upstream.ts';
import { createLimits, type Limits } from './callers/limits.ts';
import type { Settings } from './config.ts';
import type { Journal } from './journal.ts';
import { createProxyMetrics } from './metrics/metrics.ts';
import type { OwnRoute } from './own/routes.ts';
import type { Sink } from './records/call-recorder.ts';
import type { ContentRule } from './records/content.ts';
import { createHistory, type History, type HistoryOptions } from './records/history.ts';
import type { CallRecord, Running } from './records/record.ts';
import { createRecorder } from './records/recorder.ts';
import { createRecordRoutes } from './records/routes.ts';
import { UnderWay } from './records/under-way.ts';
import { createUsageSender, readSentUpTo } from './records/usage-sender.ts';
import type { Observe } from './road/observer.ts';
import { openTraces } from './traces/open.ts';
import { createUiRoutes } from './ui/routes.ts';
import type { Prices } from './usage/prices.ts';

/** What the gateway knows of the calls that pass: who may make them, what they used, and how they ended. */
export interface Accounting {
  /** undefined with RECORD_CALLS=false: nobody watches, and the road is as fast as it can be. */
  observe: Observe | undefined;
  limits: Limits;
  /** Counts what STREAM_PADDING adds. */
  padded: (bytes: number) => void;
  routes: OwnRoute[];
  /** Whether records and limits outlive this replica. */
  isDurable: boolean;
  close(): Promise<void>;
}

export interface AccountingParts {
  upstreams: readonly Upstream[];
  journal: Journal;
  log: Logger;
  prices: Prices;
  now: () => number;
  clock: () => number;
  /** Told of each record as well. */
  sink?: ((record: CallRecord) => void) | undefined;
  /** Of history; for tests, which have not the time to fill the usual one. */
  maxWaiting?: number | undefined;
}

const dayMs = 86_400_000;

/** Posts batches of usage records as lago-usage-push takes them, signed where there is a key. */
function createPost(settings: Settings): ((records: UsageRecord[]) => Promise<void>) | undefined {
  const { USAGE_WEBHOOK_URL: url, 'usage-webhook-secret': secret, 'usage-webhook-key': key } = settings;
  if (url === undefined) return undefined;
  const { origin, pathname, search } = new URL(url);
  const client = createHttpClient({ service: 'The usage webhook', baseUrl: origin, timeoutMs: 30_000, attempts: 1 });
  return async (records) => {
    const batch = { version: 1, records };
    const [signature, credential] = [secret?.read(), key?.read()];
    await client.request({
      method: 'POST',
      path: pathname + search,
      json: batch,
      headers: {
        // Over the very bytes that are sent: the client writes JSON as JSON.stringify does.
        ...(signature === undefined ? {} : { 'X-Hub-Signature-256': signBody(JSON.stringify(batch), signature) }),
        ...(credential === undefined ? {} : { 'X-Api-Key': credential }),
      },
    });
  };
}

/** undefined: neither prompts nor answers are kept anywhere. */
export const contentRuleOf = (settings: Settings): ContentRule | undefined =>
  settings.HISTORY_CONTENT === 'full'
    ? { maxBytes: settings.HISTORY_CONTENT_BYTES, redact: settings.HISTORY_REDACT }
    : undefined;

function openHistory(
  settings: Settings,
  store: Store,
  log: Logger,
  rest: Pick<HistoryOptions, 'now' | 'onLost' | 'sending' | 'maxWaiting'>,
): History | undefined {
  const { HISTORY_DAYS, HISTORY_RECORDS } = settings;
  // A webhook is sent from what history holds.
  const days = HISTORY_DAYS === 0 && settings.USAGE_WEBHOOK_URL !== undefined ? 1 : HISTORY_DAYS;
  if (days === 0) return undefined;
  return createHistory({ store, log, keepMs: days * dayMs, keepRecords: HISTORY_RECORDS, ...rest });
}

function openTraceSink(
  settings: Settings,
  upstreams: readonly Upstream[],
  parts: { log: Logger; onLost: (spans: number) => void },
) {
  const endpoint = settings.OTEL_EXPORTER_OTLP_ENDPOINT;
  if (endpoint === undefined) return undefined;
  const origins = new Map(upstreams.map(({ backend: { name, origin } }) => [name, origin]));
  return openTraces(
    { endpoint, headers: settings['otel-exporter-otlp-headers'], serviceName: settings.OTEL_SERVICE_NAME },
    { ...parts, originOf: (name) => origins.get(name) },
  );
}

/** What is asked for and does not hold with a store in `/tmp`. */
export function offWithoutStore({
  CALLERS,
  USAGE_WEBHOOK_URL,
}: Pick<Settings, 'CALLERS' | 'USAGE_WEBHOOK_URL'>): string[] {
  const isLimited = [...CALLERS.values()].some(
    ({ requestsPerMinute, tokensPerMinute, dailyBudgetNanoUsd }) =>
      requestsPerMinute !== undefined || tokensPerMinute !== undefined || dailyBudgetNanoUsd !== undefined,
  );
  return [
    ...(isLimited ? ['limits and budgets are counted by each replica alone, since its start'] : []),
    ...(USAGE_WEBHOOK_URL === undefined ? [] : ['usage records that nobody took are gone with their replica']),
  ];
}

export function openAccounting(settings: Settings, parts: AccountingParts): Accounting {
  const { upstreams, journal, log, now, clock } = parts;
  const store = openStore({ name: 'completion-proxy', url: settings['store-url']?.read() });
  const metrics = createProxyMetrics(upstreams);
  const history = openHistory(settings, store, log, {
    now,
    onLost: (records) => metrics.lost('history', records),
    sending:
      settings.USAGE_WEBHOOK_URL === undefined
        ? undefined
        : { sentUpTo: () => readSentUpTo(store), onLost: (records) => metrics.lost('webhook', records) },
    maxWaiting: parts.maxWaiting,
  });
  const off = store.durable ? [] : offWithoutStore(settings);
  if (off.length > 0) log.warn('no lasting store (STORE_URL): these promises are off', { off });
  let storeFailed = false;
  const limits = createLimits({
    policies: settings.CALLERS,
    addShared: store.durable ? (key, amount, ttlMs) => store.kv.add(key, amount, { ttlMs }) : undefined,
    now,
    onStoreError: (error) => {
      if (!storeFailed) log.error('limits are counted by each replica alone: the store does not answer', { error });
      storeFailed = true;
    },
  });
  const post = createPost(settings);
  const sender = post && createUsageSender({ store, post, log, onLost: (records) => metrics.lost('webhook', records) });
  sender?.start();

  const sinks: Sink[] = [limits.settle, metrics.count, ...(history === undefined ? [] : [history.add])];
  const traces = openTraceSink(settings, parts.upstreams, { log, onLost: (spans) => metrics.lost('traces', spans) });
  if (traces !== undefined) {
    sinks.push((record, _cost, { trace }) => trace !== undefined && traces.add(record, trace));
  }
  if (parts.sink !== undefined) sinks.push(parts.sink);
  const content = contentRuleOf(settings);
  const onError = (error: unknown) => log.error('a call was not recorded', { error });

  const running = new UnderWay<Running>();
  const recorder = createRecorder({ running, prices: parts.prices, sinks, content, now, clock, onError });
  return {
    observe: settings.RECORD_CALLS ? recorder.observe : undefined,
    limits,
    padded: metrics.padded,
    routes: [
      ...createRecordRoutes({ history, journal, limits, metrics, now }),
      ...createUiRoutes({ history, running, upstreams, limits, now, keepsContent: content !== undefined }),
    ],
    isDurable: store.durable,
    async close() {
      recorder.drain();
      await history?.close();
      await sender?.close();
      await traces?.close();
      await store.close();
    },
  };
}
