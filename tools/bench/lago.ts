import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { createLagoClient } from '#shared/clients/lago.ts';
import type { SpendRow } from '#shared/clients/litellm.ts';
import { loadSettings } from '#shared/config/settings.ts';
import { createLogger } from '#shared/log.ts';
import { parseUsd } from '#shared/money.ts';
import { createSqliteEngine } from '#shared/store/sqlite.ts';
import { createStore } from '#shared/store/store.ts';
import { toEvents } from '../../functions/lago-usage-push/billing/events.ts';
import { fromRow } from '../../functions/lago-usage-push/calls/from-row.ts';
import { settings as schema } from '../../functions/lago-usage-push/config.ts';
import { openPush } from '../../functions/lago-usage-push/open.ts';
import { atMost, type Bench, sideBySide } from './harness.ts';

// What a heap holds shows only after a collection.
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const concurrency = 4;
const startMs = Date.parse('2026-11-01T00:00:00Z');

async function startDouble() {
  const worker = new Worker(new URL('./lago/double.ts', import.meta.url));
  const [url] = (await once(worker, 'message')) as [string];
  return { url, close: () => worker.terminate() };
}

const makeRow = (at: number, total: number): SpendRow => ({
  requestId: `chatcmpl-bench-${at}`,
  litellmCallId: null,
  callType: 'acompletion',
  apiKeyHash: '88dc28d0f030c55ed4ab77ed8faf0981',
  keyAlias: 'chatbot',
  teamAlias: null,
  userEmail: null,
  spend: parseUsd('0.00133'),
  totalTokens: 100,
  promptTokens: 17,
  completionTokens: 83,
  startTime: new Date(startMs + Math.floor((at / total) * 86_400_000)),
  endTime: new Date(startMs + Math.floor((at / total) * 86_400_000) + 900),
  model: 'gpt-4o',
  modelGroup: 'gpt-4o',
  provider: 'openai',
  user: 'carol',
  teamId: 'platform',
  organizationId: null,
  endUser: `customer-${at % 100}`,
  status: 'success',
  isCacheHit: false,
  tags: ['prod'],
  metadata: { user_api_key_alias: 'chatbot' },
});

/** The whole function over rows that are made as they are read: decisions, memory, state, delivery. */
async function pushRows(lagoUrl: string, total: number, isWatched = false): Promise<{ ms: number; peakMb: number }> {
  const env = {
    LITELLM_API_BASE_URL: 'http://127.0.0.1:9',
    LITELLM_API_KEY: 'none',
    LAGO_API_BASE: lagoUrl,
    LAGO_API_KEY: 'none',
    FUNCTION_API_KEY: 'bench:key',
    TRUST_REQUEST_USER: 'true',
    PREFLIGHT: 'off',
    BILLING_PERIOD: 'none',
    BILL_FROM: '2026-11-01',
    RUN_SECONDS: '3600',
  };
  const folder = mkdtempSync(join(tmpdir(), 'bench-lago-'));
  const store = createStore(createSqliteEngine(join(folder, 'store.sqlite')), { name: `bench-${total}` });
  const push = openPush(loadSettings(schema, env), {
    store,
    // The day after: recent enough that every call is remembered as well.
    now: () => startMs + 86_400_000 + 200_000,
    async *spendRows() {
      for (let at = 0; at < total; at++) yield makeRow(at, total);
    },
  });
  const log = createLogger({ level: 'error' });
  let peak = 0;
  const look = () => {
    collect();
    peak = Math.max(peak, process.memoryUsage().heapUsed);
  };
  const watch = isWatched ? setInterval(look, 1_000) : undefined;
  const startedAt = performance.now();
  const { sent } = await push.run({ dryRun: false, log });
  const ms = performance.now() - startedAt;
  if (isWatched) look();
  clearInterval(watch);
  await push.close();
  rmSync(folder, { recursive: true });
  if (sent !== total) throw new Error(`sent ${sent} of ${total}`);
  return { ms, peakMb: peak / 1e6 };
}

/** One POST per event, as LiteLLM's own callback sends them, as many at once. */
async function postEach(lagoUrl: string, total: number): Promise<number> {
  const client = createLagoClient({ baseUrl: lagoUrl, apiKey: () => 'none', timeoutMs: 5_000 });
  const money = { currency: 'USD', rates: [], markup: { digits: 1n, scale: 0 } };
  const rules = { mode: 'cost' as const, code: 'llm_cost', money, markupText: '1' };
  let next = 0;
  const startedAt = performance.now();
  const work = async () => {
    while (next < total) {
      const call = fromRow(makeRow(next++, total));
      const events = toEvents(call, { subscription: 'sub', billedAt: call.startedAt }, rules) ?? [];
      await client.sendBatch(events);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return performance.now() - startedAt;
}

/** Events a second against one POST per event, side by side; and the heap from ten thousand rows to a million. */
export const bench: Bench = async (report) => {
  const lago = await startDouble();
  const [ours, theirs] = [20_000, 1_000];
  const rows = await sideBySide(
    [
      { name: 'one POST per event', measure: async () => ((await postEach(lago.url, theirs)) / theirs) * 1_000 },
      { name: 'lago-usage-push', measure: async () => ((await pushRows(lago.url, ours)).ms / ours) * 1_000 },
    ],
    { rounds: 3, unit: 'us an event' },
  );
  const small = await pushRows(lago.url, 10_000, true);
  report(`10,000 rows: ${small.peakMb.toFixed(1)} MB heap, ${small.ms.toFixed(0)} ms`);
  const large = await pushRows(lago.url, 1_000_000, true);
  report(`1,000,000 rows: ${large.peakMb.toFixed(1)} MB heap, ${large.ms.toFixed(0)} ms`);
  await lago.close();
  return {
    bench: 'lago',
    rows,
    targets: [
      atMost('time of an event against one POST per event (a twentieth)', rows[1]!.ratio, 0.05),
      atMost('heap of 1,000,000 rows against 10,000', large.peakMb / small.peakMb, 1.5),
    ],
  };
};
