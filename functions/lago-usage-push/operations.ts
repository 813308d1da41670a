import type * as z from 'zod';
import { createLagoCustomersClient } from '#shared/clients/lago-customers.ts';
import { readLagoVersion } from '#shared/clients/lago-http.ts';
import { createLagoPlansClient } from '#shared/clients/lago-plans.ts';
import type { settings as schema } from './config.ts';
import { createProvisionRoute } from './provision/route.ts';
import type { Routes } from './routes.ts';
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
  return {
    '/provision': { POST: createProvisionRoute({ plans, customers, version }) },
    '/usage': { GET: createUsageRoute({ customers, plans }) },
  };
}
