import type { CustomerInput, LagoCustomersClient, SubscriptionInput } from '#shared/clients/lago-customers.ts';
import type { LagoPlansClient } from '#shared/clients/lago-plans.ts';
import { HttpError } from '#shared/errors.ts';
import type { WantedCharge } from './charges.ts';
import { type Change, type Diff, diffPlanFile, type LagoState, type Operation } from './diff.ts';
import type { PlanFile } from './plan-file.ts';
import { diffSubscribers } from './subscribers.ts';

export interface ProvisionDependencies {
  plans: LagoPlansClient;
  customers: LagoCustomersClient;
  /** `1.39.0`; undefined where Lago does not tell. */
  version: (signal?: AbortSignal) => Promise<string | undefined>;
}

/** What was found, and with `dry_run` false what was done. */
export interface ProvisionResult {
  dry_run: boolean;
  lago_version: string;
  changes: Change[];
  /** Calls that changed something in Lago. */
  applied: number;
}

interface CallOptions {
  dryRun: boolean;
  signal?: AbortSignal | undefined;
}

async function toMap<T>(ids: Iterable<string>, find: (id: string) => Promise<T | undefined>): Promise<Map<string, T>> {
  const found = new Map<string, T>();
  for (const id of new Set(ids)) {
    const item = await find(id);
    if (item !== undefined) found.set(id, item);
  }
  return found;
}

async function readState(
  { plans, customers }: ProvisionDependencies,
  file: PlanFile,
  version: string,
  signal: AbortSignal | undefined,
): Promise<LagoState> {
  const metricCodes = [
    ...file.billable_metrics.map(({ code }) => code),
    ...file.plans.flatMap(({ charges }) => charges.map((charge) => charge.billable_metric)),
  ];
  const planCodes = [...file.plans.map(({ code }) => code), ...file.subscriptions.map((item) => item.plan_code)];
  return {
    version,
    metrics: await toMap(metricCodes, (code) => plans.findMetric(code, signal)),
    plans: await toMap(planCodes, (code) => plans.findPlan(code, signal)),
    customers: await toMap(
      file.customers.map((item) => item.external_id),
      (id) => customers.findCustomer(id, signal),
    ),
    subscriptions: await toMap(
      file.subscriptions.map((item) => item.external_id),
      (id) => customers.findSubscription(id, signal),
    ),
  };
}

async function apply(
  { plans, customers }: ProvisionDependencies,
  operation: Operation,
  signal: AbortSignal | undefined,
) {
  const withMetric = async ({ metric, charge }: { metric: string; charge: WantedCharge }) => {
    const found = await plans.findMetric(metric, signal);
    if (found !== undefined) return { ...charge, billable_metric_id: found.lagoId };
    throw new HttpError(409, `The metric ${metric} is not in Lago any more: call again`, { code: 'plan_conflict' });
  };
  switch (operation.do) {
    case 'create_metric':
      return plans.createMetric(operation.input, signal);
    case 'set_metric_filters':
      return plans.setMetricFilters(operation.metric, operation.filters, signal);
    case 'create_plan': {
      const { code, name = code, charges: _, ...rest } = operation.plan;
      const charges = await Promise.all(operation.charges.map(withMetric));
      return plans.createPlan({ code, name, ...rest, charges }, signal);
    }
    case 'update_plan':
      return plans.updatePlan(operation.code, operation.input, signal);
    case 'change_charges': {
      const create = await Promise.all(operation.create.map(withMetric));
      const update = operation.update.map(async (item) => ({ lagoId: item.lagoId, input: await withMetric(item) }));
      // Read again: a charge that somebody added since would be destroyed by a PUT that does not name it.
      const plan = (await plans.findPlan(operation.plan.code, signal)) ?? operation.plan;
      return plans.changeCharges(plan, { create, update: await Promise.all(update) }, signal);
    }
    case 'write_customer':
      return customers.writeCustomer(operation.input, signal);
    case 'create_subscription':
      return customers.createSubscription(operation.input, signal);
  }
}

/** Does all of a diff, or nothing of one with a conflict. Throws HttpError 409 `plan_conflict` with the changes. */
async function applyDiff(
  dependencies: ProvisionDependencies,
  { changes, operations }: Diff,
  { dryRun, signal }: CallOptions,
): Promise<number> {
  if (dryRun) return 0;
  const conflicts = changes.filter(({ action }) => action === 'conflict');
  if (conflicts.length > 0) {
    const shown = conflicts.map(({ kind, id, note }) => `${kind} ${id}: ${note}`).join('; ');
    throw new HttpError(409, `Nothing was changed, since Lago has this otherwise: ${shown}`, {
      code: 'plan_conflict',
      more: { changes },
    });
  }
  for (const operation of operations) await apply(dependencies, operation, signal);
  return operations.length;
}

/** Makes Lago what the plan file says, or with `dryRun` tells the difference. Running it again changes nothing. */
export async function provision(
  dependencies: ProvisionDependencies,
  file: PlanFile,
  call: CallOptions,
): Promise<ProvisionResult> {
  const version = file.lago_version ?? (await dependencies.version(call.signal));
  if (version === undefined) {
    const message = "Lago's version could not be read from its /health: put lago_version into the plan";
    throw new HttpError(400, message, { code: 'lago_version_unknown' });
  }
  const diff = diffPlanFile(file, await readState(dependencies, file, version, call.signal));
  const applied = await applyDiff(dependencies, diff, call);
  return { dry_run: call.dryRun, lago_version: version, changes: diff.changes, applied };
}

/**
 * A subscription and its customer for each, whose plans Lago has already. One that conflicts is told and left out, and
 * the others go on: these are many people, not one plan.
 */
export async function provisionSubscribers(
  dependencies: ProvisionDependencies,
  wanted: { customer: CustomerInput; subscription: SubscriptionInput }[],
  { dryRun, signal, isTimeUp }: CallOptions & { isTimeUp: () => boolean },
): Promise<{ changes: Change[]; applied: number; complete: boolean }> {
  const { plans, customers } = dependencies;
  const state: LagoState = {
    version: '',
    metrics: new Map(),
    plans: await toMap(
      wanted.map(({ subscription }) => subscription.plan_code),
      (code) => plans.findPlan(code, signal),
    ),
    customers: new Map(),
    subscriptions: new Map(),
  };
  const changes: Change[] = [];
  let applied = 0;
  for (const { customer, subscription } of wanted) {
    if (isTimeUp()) return { changes, applied, complete: false };
    const id = subscription.external_id;
    state.customers = await toMap([customer.external_id], (key) => customers.findCustomer(key, signal));
    state.subscriptions = await toMap([id], (key) => customers.findSubscription(key, signal));
    // A customer who is there already may have a better name than LiteLLM's.
    const isNew = !state.customers.has(customer.external_id);
    const diff = diffSubscribers(
      { customers: isNew ? [customer] : [], subscriptions: [subscription] },
      new Set(),
      state,
    );
    changes.push(...diff.changes);
    if (dryRun || diff.changes.some(({ action }) => action === 'conflict')) continue;
    for (const operation of diff.operations) await apply(dependencies, operation, signal);
    applied += diff.operations.length;
  }
  return { changes, applied, complete: true };
}
