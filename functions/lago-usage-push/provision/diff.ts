import type {
  CustomerInput,
  LagoCustomer,
  LagoSubscription,
  SubscriptionInput,
} from '#shared/clients/lago-customers.ts';
import type { LagoMetric, LagoPlan, MetricInput } from '#shared/clients/lago-plans.ts';
import { compareCharge, type Difference, findObstacle, toWantedCharge, type WantedCharge } from './charges.ts';
import type { PlanFile } from './plan-file.ts';
import { diffSubscribers } from './subscribers.ts';

/** What Lago has of the things that a plan file names. */
export interface LagoState {
  version: string;
  metrics: Map<string, LagoMetric>;
  plans: Map<string, LagoPlan>;
  customers: Map<string, LagoCustomer>;
  subscriptions: Map<string, LagoSubscription>;
}

/** One line of the answer. `conflict` is what Lago can only do by hand, or by making something anew. */
export interface Change {
  kind: 'billable_metric' | 'plan' | 'charge' | 'customer' | 'subscription';
  id: string;
  action: 'create' | 'update' | 'unchanged' | 'only_in_lago' | 'conflict';
  changes?: Record<string, Difference>;
  note?: string;
}

export type Operation =
  | { do: 'create_metric'; input: MetricInput }
  | { do: 'set_metric_filters'; metric: LagoMetric; filters: MetricInput['filters'] }
  | { do: 'create_plan'; plan: PlanFile['plans'][number]; charges: { metric: string; charge: WantedCharge }[] }
  | { do: 'update_plan'; code: string; input: { name?: string; amount_cents?: number } }
  | {
      do: 'change_charges';
      plan: LagoPlan;
      create: { metric: string; charge: WantedCharge }[];
      update: { lagoId: string; metric: string; charge: WantedCharge }[];
    }
  | { do: 'write_customer'; input: CustomerInput }
  | { do: 'create_subscription'; input: SubscriptionInput };

export interface Diff {
  changes: Change[];
  operations: Operation[];
}

const repriced = 'Lago prices the whole open period anew by this';

/** The filters that a metric needs: its own and every model that a charge prices. No value is ever taken away. */
function findWantedFilters(file: PlanFile, metricCode: string, found: LagoMetric | undefined): MetricInput['filters'] {
  const filters = new Map((found?.filters ?? []).map(({ key, values }) => [key, new Set(values)]));
  const add = (key: string, values: string[]) => {
    const known = filters.get(key) ?? new Set<string>();
    for (const value of values) known.add(value);
    if (known.size > 0) filters.set(key, known);
  };
  for (const { key, values } of file.billable_metrics.find((item) => item.code === metricCode)?.filters ?? []) {
    add(key, values);
  }
  for (const { charges } of file.plans) {
    for (const spec of charges) {
      if (spec.billable_metric === metricCode && 'model_prices' in spec)
        add('model', Object.keys(spec.model_prices.prices));
    }
  }
  return [...filters].map(([key, values]) => ({ key, values: [...values] }));
}

function diffMetrics(file: PlanFile, state: LagoState, diff: Diff) {
  const named = new Map(file.billable_metrics.map((item) => [item.code, item]));
  const used = file.plans.flatMap(({ charges }) => charges.map((item) => item.billable_metric));
  for (const id of new Set([...named.keys(), ...used])) {
    const wanted = named.get(id);
    const found = state.metrics.get(id);
    const filters = findWantedFilters(file, id, found);
    if (found === undefined && wanted === undefined) {
      const note = 'neither the plan nor Lago has this metric';
      diff.changes.push({ kind: 'billable_metric', id, action: 'conflict', note });
    } else if (found === undefined && wanted !== undefined) {
      const { code, name = code, aggregation_type, field_name } = wanted;
      const field = field_name === undefined ? {} : { field_name };
      diff.changes.push({ kind: 'billable_metric', id, action: 'create' });
      diff.operations.push({ do: 'create_metric', input: { code, name, aggregation_type, ...field, filters } });
    } else if (found !== undefined) {
      const changes: Record<string, Difference> = {};
      const field = wanted?.field_name ?? null;
      if (wanted !== undefined && wanted.aggregation_type !== found.aggregationType) {
        changes.aggregation_type = { from: found.aggregationType, to: wanted.aggregation_type };
      }
      if (wanted !== undefined && field !== found.fieldName) changes.field_name = { from: found.fieldName, to: field };
      if (Object.keys(changes).length > 0) {
        const note = 'Lago ignores this change once a plan uses the metric: give the metric another code';
        diff.changes.push({ kind: 'billable_metric', id, action: 'conflict', changes, note });
      } else if (JSON.stringify(filters) !== JSON.stringify(found.filters)) {
        const shown = { filters: { from: found.filters, to: filters } };
        diff.changes.push({ kind: 'billable_metric', id, action: 'update', changes: shown });
        diff.operations.push({ do: 'set_metric_filters', metric: found, filters });
      } else diff.changes.push({ kind: 'billable_metric', id, action: 'unchanged' });
    }
  }
}

function diffCharges(wanted: PlanFile['plans'][number], found: LagoPlan, state: LagoState, diff: Diff) {
  const create: { metric: string; charge: WantedCharge }[] = [];
  const update: { lagoId: string; metric: string; charge: WantedCharge }[] = [];
  const left = new Set(found.charges);
  for (const spec of wanted.charges) {
    const id = `${wanted.code}/${spec.billable_metric}`;
    const metricId = state.metrics.get(spec.billable_metric)?.lagoId;
    const same = found.charges.filter(
      (item) => item.metricCode === spec.billable_metric || (metricId !== undefined && item.metricId === metricId),
    );
    for (const item of same) left.delete(item);
    const [first] = same;
    const obstacle = findObstacle(spec, state.version);
    const charge = toWantedCharge(spec, state.version);
    if (obstacle !== undefined) diff.changes.push({ kind: 'charge', id, action: 'conflict', note: obstacle });
    else if (same.length > 1) {
      const note = `Lago has ${same.length} charges on this metric in this plan: usage is billed by each of them`;
      diff.changes.push({ kind: 'charge', id, action: 'conflict', note });
    } else if (first === undefined) {
      diff.changes.push({ kind: 'charge', id, action: 'create', note: repriced });
      create.push({ metric: spec.billable_metric, charge });
    } else {
      const { changes, fixed } = compareCharge(first, charge);
      if (Object.keys(fixed).length > 0) {
        const note = 'only another charge could change this: end the plan with a new plan code';
        diff.changes.push({ kind: 'charge', id, action: 'conflict', changes: fixed, note });
      } else if (Object.keys(changes).length > 0) {
        diff.changes.push({ kind: 'charge', id, action: 'update', changes, note: repriced });
        update.push({ lagoId: first.lagoId, metric: spec.billable_metric, charge });
      } else diff.changes.push({ kind: 'charge', id, action: 'unchanged' });
    }
  }
  for (const item of left) {
    const id = `${wanted.code}/${item.metricCode ?? item.metricId}`;
    diff.changes.push({ kind: 'charge', id, action: 'only_in_lago', note: 'left as it is' });
  }
  if (create.length + update.length > 0) diff.operations.push({ do: 'change_charges', plan: found, create, update });
}

function diffPlans(file: PlanFile, state: LagoState, diff: Diff) {
  for (const plan of file.plans) {
    const found = state.plans.get(plan.code);
    if (found === undefined) {
      const charges = plan.charges.map((spec) => ({
        metric: spec.billable_metric,
        charge: toWantedCharge(spec, state.version),
      }));
      diff.changes.push({ kind: 'plan', id: plan.code, action: 'create' });
      for (const spec of plan.charges) {
        const obstacle = findObstacle(spec, state.version);
        const id = `${plan.code}/${spec.billable_metric}`;
        diff.changes.push({
          kind: 'charge',
          id,
          ...(obstacle === undefined ? { action: 'create' } : { action: 'conflict', note: obstacle }),
        });
      }
      diff.operations.push({ do: 'create_plan', plan, charges });
      continue;
    }
    const fixed: Record<string, Difference> = {};
    if (found.interval !== plan.interval) fixed.interval = { from: found.interval, to: plan.interval };
    if (found.currency !== plan.amount_currency)
      fixed.amount_currency = { from: found.currency, to: plan.amount_currency };
    if (found.payInAdvance !== plan.pay_in_advance) {
      fixed.pay_in_advance = { from: found.payInAdvance, to: plan.pay_in_advance };
    }
    const changes: Record<string, Difference> = {};
    if (plan.name !== undefined && plan.name !== found.name) changes.name = { from: found.name, to: plan.name };
    if (plan.amount_cents !== found.amountCents)
      changes.amount_cents = { from: found.amountCents, to: plan.amount_cents };
    if (Object.keys(fixed).length > 0) {
      const note = 'Lago fixes this for a plan with subscriptions: give the plan another code';
      diff.changes.push({ kind: 'plan', id: plan.code, action: 'conflict', changes: fixed, note });
    } else if (Object.keys(changes).length > 0) {
      diff.changes.push({ kind: 'plan', id: plan.code, action: 'update', changes });
      const input = Object.fromEntries(Object.entries(changes).map(([key, { to }]) => [key, to]));
      diff.operations.push({ do: 'update_plan', code: plan.code, input });
    } else diff.changes.push({ kind: 'plan', id: plan.code, action: 'unchanged' });
    diffCharges(plan, found, state, diff);
  }
}

/** What has to be done in Lago for the plan file to be true, in an order in which it can be done. */
export function diffPlanFile(file: PlanFile, state: LagoState): Diff {
  const diff: Diff = { changes: [], operations: [] };
  diffMetrics(file, state, diff);
  diffPlans(file, state, diff);
  const subscribers = diffSubscribers(file, new Set(file.plans.map(({ code }) => code)), state);
  return {
    changes: [...diff.changes, ...subscribers.changes],
    operations: [...diff.operations, ...subscribers.operations],
  };
}
