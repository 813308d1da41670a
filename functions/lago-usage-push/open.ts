import type * as z from 'zod';
import { createLagoClient } from '#shared/clients/lago.ts';
import { createLitellmClient } from '#shared/clients/litellm.ts';
import { openStore } from '#shared/store/open.ts';
import type { settings as schema } from './config.ts';
import { createRun, type Run } from './run.ts';
import { toStateKey } from './state.ts';

/** Builds the run from the settings; `close` releases the store. */
export function openPush(settings: z.infer<typeof schema>): { run: Run; close: () => Promise<void> } {
  const store = openStore({ name: 'lago-usage-push', url: settings['store-url'].read() });
  const run = createRun({
    litellm: createLitellmClient({
      baseUrl: settings.LITELLM_API_BASE_URL,
      apiKey: () => settings['litellm-api-key'].read(),
      timeoutMs: settings.LITELLM_TIMEOUT_MS,
    }),
    lago: createLagoClient({
      baseUrl: settings.LAGO_API_BASE,
      apiKey: () => settings['lago-api-key'].read() ?? '',
      timeoutMs: settings.LAGO_TIMEOUT_MS,
    }),
    store,
    stateKey: toStateKey(settings.LITELLM_API_BASE_URL, settings.LAGO_API_BASE),
    code: settings.LAGO_API_EVENT_CODE,
    chargeBy: settings.LAGO_API_CHARGE_BY,
    billFrom: settings.BILL_FROM,
    overlapMs: settings.OVERLAP_MINUTES * 60_000,
    lagMs: settings.SAFETY_LAG_SECONDS * 1_000,
  });
  return { run, close: () => store.close() };
}
