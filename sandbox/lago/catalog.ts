import { randomUUID } from 'node:crypto';
import type { LagoProfile } from '../lago-events.ts';

export interface Metric {
  lago_id: string;
  code: string;
  name: string;
  description: string | null;
  aggregation_type: string;
  field_name: string | null;
  recurring: boolean;
  created_at: string;
  filters: { key: string; values: string[] }[];
}

export interface ChargeFilter {
  invoice_display_name: string | null;
  properties: Record<string, unknown>;
  values: Record<string, string[]>;
}

export interface Charge {
  lago_id: string;
  lago_billable_metric_id: string;
  billable_metric_code: string;
  /** Since 1.39. */
  code?: string;
  invoice_display_name: string | null;
  charge_model: string;
  pay_in_advance: boolean;
  prorated: boolean;
  properties: Record<string, unknown>;
  filters: ChargeFilter[];
  created_at: string;
}

export interface Plan {
  lago_id: string;
  code: string;
  name: string;
  description: string | null;
  interval: string;
  amount_cents: number;
  amount_currency: string;
  pay_in_advance: boolean;
  created_at: string;
  charges: Charge[];
}

export interface Customer {
  lago_id: string;
  external_id: string;
  name: string | null;
  email: string | null;
  currency: string | null;
  created_at: string;
  metadata: unknown[];
}

export interface Subscription {
  lago_id: string;
  external_id: string;
  external_customer_id: string;
  plan_code: string;
  name: string | null;
  billing_time: string;
  status: 'active' | 'pending' | 'terminated';
  subscription_at: string;
  started_at: string | null;
  terminated_at: string | null;
  ending_at: string | null;
  previous_plan_code: string | null;
  created_at: string;
}

/** What an operator has set up in Lago. */
export interface LagoCatalog {
  profile: LagoProfile;
  now: () => Date;
  metrics: Metric[];
  plans: Plan[];
  customers: Customer[];
  subscriptions: Subscription[];
}

export const createCatalog = (profile: LagoProfile, now: () => Date): LagoCatalog => ({
  profile,
  now,
  metrics: [],
  plans: [],
  customers: [],
  subscriptions: [],
});

type Body = Record<string, unknown>;
export type Refusal = { details: Record<string, string[]> } | { notFound: string };

const text = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);
const mandatory = (body: Body, ...names: string[]) =>
  Object.fromEntries(
    names.filter((name) => body[name] === undefined || body[name] === '').map((name) => [name, ['value_is_mandatory']]),
  );
const decimal = /^-?\d+(\.\d+)?$/;

export const isRefusal = (value: unknown): value is Refusal =>
  typeof value === 'object' && value !== null && ('details' in value || 'notFound' in value);

const aggregations = ['count_agg', 'sum_agg', 'max_agg', 'latest_agg', 'unique_count_agg', 'weighted_sum_agg'];

export function createMetric(catalog: LagoCatalog, body: Body): Metric | Refusal {
  const problems: Record<string, string[]> = mandatory(body, 'name', 'code', 'aggregation_type');
  if (body.aggregation_type !== undefined && !aggregations.includes(String(body.aggregation_type))) {
    problems.aggregation_type = ['value_is_invalid'];
  }
  if (body.aggregation_type !== 'count_agg' && text(body.field_name) === null) {
    problems.field_name = ['value_is_mandatory'];
  }
  if (catalog.metrics.some(({ code }) => code === body.code)) problems.code = ['value_already_exist'];
  if (Object.keys(problems).length > 0) return { details: problems };
  const metric: Metric = {
    lago_id: randomUUID(),
    code: String(body.code),
    name: String(body.name),
    description: text(body.description),
    aggregation_type: String(body.aggregation_type),
    field_name: text(body.field_name),
    recurring: body.recurring === true,
    created_at: catalog.now().toISOString(),
    filters: (body.filters as Metric['filters'] | undefined) ?? [],
  };
  catalog.metrics.push(metric);
  return metric;
}

/** A metric that a plan uses takes only another name, description and filters: the rest is ignored without a word. */
export function updateMetric(catalog: LagoCatalog, metric: Metric, body: Body): Metric {
  const used = catalog.plans.some(({ charges }) =>
    charges.some((charge) => charge.billable_metric_code === metric.code),
  );
  if (text(body.name) !== null) metric.name = String(body.name);
  if ('description' in body) metric.description = text(body.description);
  if (Array.isArray(body.filters)) metric.filters = body.filters as Metric['filters'];
  if (used) return metric;
  if (text(body.aggregation_type) !== null) metric.aggregation_type = String(body.aggregation_type);
  if (text(body.field_name) !== null) metric.field_name = text(body.field_name);
  return metric;
}

const keptProperties: Record<string, string[]> = {
  standard: ['amount', 'grouped_by', 'pricing_group_keys'],
  package: ['amount', 'free_units', 'package_size', 'pricing_group_keys'],
  graduated: ['graduated_ranges', 'pricing_group_keys'],
  volume: ['volume_ranges', 'pricing_group_keys'],
  percentage: [
    'rate',
    'fixed_amount',
    'free_units_per_events',
    'free_units_per_total_aggregation',
    'pricing_group_keys',
  ],
  dynamic: ['pricing_group_keys'],
};

/** Lago keeps what the charge model of its version knows of the properties, and drops the rest. */
function readProperties(catalog: LagoCatalog, model: string, properties: unknown): Body {
  const kept = (keptProperties[model] ?? []).filter(
    (name) => name !== 'pricing_group_keys' || catalog.profile !== '1.12',
  );
  return Object.fromEntries(Object.entries((properties as Body | null) ?? {}).filter(([name]) => kept.includes(name)));
}

export function toCharge(catalog: LagoCatalog, body: Body, old?: Charge): Charge | Refusal {
  const metric = catalog.metrics.find(
    ({ lago_id: id }) => id === (body.billable_metric_id ?? old?.lago_billable_metric_id),
  );
  if (metric === undefined) return { notFound: 'billable_metrics_not_found' };
  const model = String(body.charge_model ?? old?.charge_model);
  if (!(model in keptProperties) || (model === 'dynamic' && catalog.profile === '1.12')) {
    return { details: { charge_model: ['value_is_invalid'] } };
  }
  if (model === 'dynamic' && metric.aggregation_type !== 'sum_agg') {
    return { details: { charge_model: ['invalid_aggregation_type_or_charge_model'] } };
  }
  const properties =
    body.properties === undefined && old ? old.properties : readProperties(catalog, model, body.properties);
  const filters = ((body.filters as ChargeFilter[] | undefined) ?? old?.filters ?? []).map((filter) => ({
    invoice_display_name: filter.invoice_display_name ?? null,
    properties: readProperties(catalog, model, filter.properties),
    values: filter.values,
  }));
  const amounts = model === 'standard' ? [properties, ...filters.map((filter) => filter.properties)] : [];
  if (amounts.some(({ amount }) => typeof amount !== 'string' || !decimal.test(amount))) {
    return { details: { properties: ['invalid_amount'] } };
  }
  for (const { values } of filters) {
    for (const [key, listed] of Object.entries(values)) {
      const known = metric.filters.find((filter) => filter.key === key)?.values ?? [];
      if (listed.some((value) => value !== '__ALL_FILTER_VALUES__' && !known.includes(value))) {
        return { details: { values: ['value_is_invalid'] } };
      }
    }
  }
  const hasCodes = catalog.profile === '1.39' || catalog.profile === 'clickhouse';
  return {
    lago_id: old?.lago_id ?? randomUUID(),
    lago_billable_metric_id: metric.lago_id,
    billable_metric_code: metric.code,
    ...(hasCodes ? { code: text(body.code) ?? old?.code ?? metric.code } : {}),
    invoice_display_name: text(body.invoice_display_name) ?? old?.invoice_display_name ?? null,
    charge_model: model,
    pay_in_advance: body.pay_in_advance === undefined ? (old?.pay_in_advance ?? false) : body.pay_in_advance === true,
    prorated: false,
    properties,
    filters,
    created_at: old?.created_at ?? catalog.now().toISOString(),
  };
}

const intervals = ['weekly', 'monthly', 'quarterly', 'semiannual', 'yearly'];

/** The charges of a PUT replace those that are there: one without a known id is made anew, one left out is destroyed. */
export function writePlan(catalog: LagoCatalog, body: Body, old?: Plan): Plan | Refusal {
  if (old === undefined) {
    const problems: Record<string, string[]> = mandatory(
      body,
      'name',
      'code',
      'interval',
      'amount_cents',
      'amount_currency',
    );
    if (body.interval !== undefined && !intervals.includes(String(body.interval)))
      problems.interval = ['value_is_invalid'];
    if (catalog.plans.some(({ code }) => code === body.code)) problems.code = ['value_already_exist'];
    if (Object.keys(problems).length > 0) return { details: problems };
  }
  let charges = old?.charges ?? [];
  if (Array.isArray(body.charges)) {
    const written: Charge[] = [];
    for (const item of body.charges as Body[]) {
      const charge = toCharge(
        catalog,
        item,
        charges.find(({ lago_id: id }) => id === item.id),
      );
      if (isRefusal(charge)) return charge;
      written.push(charge);
    }
    charges = written;
  }
  const used = old !== undefined && catalog.subscriptions.some(({ plan_code: code }) => code === old.code);
  const plan: Plan = {
    lago_id: old?.lago_id ?? randomUUID(),
    code: old?.code ?? String(body.code),
    name: text(body.name) ?? old?.name ?? '',
    description: text(body.description) ?? old?.description ?? null,
    interval: used ? old.interval : (text(body.interval) ?? old?.interval ?? ''),
    amount_cents: Number(body.amount_cents ?? old?.amount_cents ?? 0),
    amount_currency: used ? old.amount_currency : (text(body.amount_currency) ?? old?.amount_currency ?? ''),
    pay_in_advance: body.pay_in_advance === undefined ? (old?.pay_in_advance ?? false) : body.pay_in_advance === true,
    created_at: old?.created_at ?? catalog.now().toISOString(),
    charges,
  };
  if (old === undefined) catalog.plans.push(plan);
  else Object.assign(old, plan);
  return old ?? plan;
}

/** An upsert by external id: only what was sent changes. */
export function writeCustomer(catalog: LagoCatalog, body: Body): Customer | Refusal {
  const externalId = String(body.external_id ?? '').trim();
  if (externalId === '') return { details: { external_id: ['value_is_mandatory'] } };
  const old = catalog.customers.find((customer) => customer.external_id === externalId);
  const customer = old ?? {
    lago_id: randomUUID(),
    external_id: externalId,
    name: null,
    email: null,
    currency: null,
    created_at: catalog.now().toISOString(),
    metadata: [],
  };
  for (const name of ['name', 'email', 'currency'] as const) if (name in body) customer[name] = text(body[name]);
  if (old === undefined) catalog.customers.push(customer);
  return customer;
}

export function writeSubscription(catalog: LagoCatalog, body: Body): Subscription | Refusal {
  const { subscriptions, plans, now } = catalog;
  const externalId = String(body.external_id ?? '').trim();
  const customerId = String(body.external_customer_id ?? '').trim();
  if (customerId === '') return { details: { external_customer_id: ['value_is_mandatory'] } };
  const plan = plans.find(({ code }) => code === body.plan_code);
  if (plan === undefined) return { notFound: 'plan_not_found' };
  const active = subscriptions.find((item) => item.external_id === externalId && item.status === 'active');
  if (active !== undefined && active.external_customer_id !== customerId) {
    return { details: { external_id: ['value_already_exist'] } };
  }
  if (active?.plan_code === plan.code) return active;
  const customer = writeCustomer(catalog, { external_id: customerId });
  if (isRefusal(customer)) return customer;
  if (customer.currency !== null && customer.currency !== plan.amount_currency) {
    return { details: { currency: ['currencies_does_not_match'] } };
  }
  customer.currency = plan.amount_currency;
  const startsAt = new Date((text(body.subscription_at) ?? undefined) || now());
  if (Number.isNaN(startsAt.getTime())) return { details: { subscription_at: ['invalid_date'] } };
  const wasDearer = (plans.find(({ code }) => code === active?.plan_code)?.amount_cents ?? 0) > plan.amount_cents;
  const pending = active === undefined ? startsAt > now() : wasDearer;
  const subscription: Subscription = {
    lago_id: randomUUID(),
    external_id: externalId || randomUUID(),
    external_customer_id: customerId,
    plan_code: plan.code,
    name: text(body.name),
    billing_time: text(body.billing_time) ?? 'calendar',
    status: pending ? 'pending' : 'active',
    subscription_at: (active === undefined ? startsAt : now()).toISOString(),
    started_at: pending ? null : (active === undefined ? startsAt : now()).toISOString(),
    terminated_at: null,
    ending_at: text(body.ending_at),
    previous_plan_code: active?.plan_code ?? null,
    created_at: now().toISOString(),
  };
  // Another plan is an upgrade, at once, or a downgrade at the end of the period.
  if (active !== undefined && !pending) {
    active.status = 'terminated';
    active.terminated_at = now().toISOString();
  }
  subscriptions.push(subscription);
  return subscription;
}
