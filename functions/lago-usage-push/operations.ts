import { createLagoCustomersClient } from '#shared/clients/lago-customers.ts';
import { readLagoVersion } from '#shared/clients/lago-http.ts';
import { createLagoLedgerClient } from '#shared/clients/lago-ledger.ts';
import { createLagoPlansClient } from '#shared/clients/lago-plans.ts';
import { toLagoAccess } from './access.ts';
import type { Settings } from './config.ts';
import type { Push } from './open.ts';
import { createAlone, createProvisionRoute } from './provision/route.ts';
import { createReconcile } from './reconcile/reconcile.ts';
import { createReconcileRoutes } from './reconcile/route.ts';
import type { Routes } from './routes.ts';
import { createSyncRoute } from './sync/route.ts';
import { createUsageRoute } from './usage/route.ts';

/** The routes around billing: what sets Lago up and what looks into it. */
export function openOperations(settings: Settings, books: Push['books']): Routes {
  const access = toLagoAccess(settings);
  const { litellm, rules, now } = books;
  const { BILL_FROM: billFrom } = settings;
  const runMs = settings.RUN_SECONDS * 1_000;
  const alone = createAlone(books.store);
  const plans = createLagoPlansClient(access);
  const customers = createLagoCustomersClient(access);
  const provisioning = { plans, customers, version: (signal?: AbortSignal) => readLagoVersion(access, signal) };
  const toSubscription = (ids: string[]) => {
    const mapping = rules.mapping();
    return mapping === undefined ? ids[0] : ids.map((id) => mapping.get(id)).find((id) => id !== undefined);
  };
  const reconcile = createReconcile({
    ...books,
    ledger: createLagoLedgerClient(access),
    runMs,
  });
  return {
    '/provision': { POST: createProvisionRoute(provisioning, alone) },
    '/sync': { POST: createSyncRoute({ ...provisioning, litellm, toSubscription, billFrom, runMs, now }, alone) },
    '/usage': { GET: createUsageRoute({ customers, plans }) },
    '/reconcile': createReconcileRoutes({
      reconcile,
      lagMs: settings.SAFETY_LAG_SECONDS * 1_000,
      hasBillFrom: billFrom !== undefined,
      now,
    }),
  };
}
