import { afterEach } from 'vitest';
import { readConfig } from '../../functions/completion-proxy/config.ts';
import { createProxy } from '../../functions/completion-proxy/proxy.ts';
import type { CallRecord } from '../../functions/completion-proxy/records/record.ts';
import { until } from './bundle-process.ts';
import { type Act, startScriptedBackend } from './scripted-backend.ts';
import { serveHandler } from './serve.ts';

const closing: (() => Promise<void>)[] = [];

/** To be called by a test file that starts any of these: they are closed after each test, the last one first. */
export function closeAfterEach() {
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });
}

export const closeLater = (close: () => Promise<void>) => closing.push(close);

export async function startBackend(...acts: Act[]) {
  const backend = await startScriptedBackend(...acts);
  closing.push(() => backend.close());
  return backend;
}

/** An open proxy without waits; settings that are no texts are written as JSON. `next` gives the records as calls end. */
export async function startProxy(env: Record<string, unknown>) {
  const texts = Object.entries(env).map(([name, value]) => [
    name,
    typeof value === 'string' ? value : JSON.stringify(value),
  ]);
  const settings = { AUTH: 'none', RETRY_BASE_MS: '1', SSE_PING_S: '0', HEALTHCHECK_INTERVAL_S: '0' };
  const records: CallRecord[] = [];
  const config = await readConfig({ ...settings, ...Object.fromEntries(texts) });
  const proxy = await serveHandler(createProxy(config, { sink: (record) => records.push(record) }));
  closing.push(() => proxy.close());
  const next = () => until('the call is recorded', () => records.shift());
  return { ...proxy, records, next };
}
