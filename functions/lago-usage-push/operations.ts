import type * as z from 'zod';
import { createLagoCustomersClient } from '#shared/clients/lago-customers.ts';
import { readLagoVersion } from '#shared/clients/lago-http.ts';
import { createLagoPlansClient } from '#shared/clients/lago-plans.ts';
import { createLitellmClient } from '#shared/clients/litellm.ts';
import type { settings as schema } from './config.ts';
import { createProvisionRoute } from './provision/route.ts';
import type { Routes } from './routes.ts';
import { createSyncRoute } from './sync/route.ts';
import { createUsageRoute } from './usage/route.ts';

/** The routes around billing: what sets Lago up and what looks into it. */
export function openOperations(settings: z.infer<typeof schema>): Routes {
  const lago = {
    baseUrl: settings.LAGO_API_BASE,
    apiKey: () => settings['lago-api-key'].read() ?? '',
    timeoutMs: settings.LAGO_TIMEOUT_MS,
  };
  const plans = createLagoPlansClient(lago);
  const customers = createLagoCustomersClient(lago);
  const version = (signal?: AbortSignal) => readLagoVersion(lago, signal);
  const litellm = createLitellmClient({
    baseUrl: settings.LITELLM_API_BASE_URL,
    apiKey: () => settings['litellm-api-key'].read(),
    timeoutMs: settings.LITELLM_TIMEOUT_MS,
  });
  const provisioning = { plans, customers, version };
  const toSubscription = ([id]: string[]) => id;
  return {
    '/provision': { POST: createProvisionRoute(provisioning) },
    '/sync': { POST: createSyncRoute({ ...provisioning, litellm, toSubscription, billFrom: settings.BILL_FROM }) },
    '/usage': { GET: createUsageRoute({ customers, plans }) },
  };
}
