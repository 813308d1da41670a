import { randomUUID } from 'node:crypto';
import {
  type Body,
  type Charge,
  type ChargeFilter,
  isRefusal,
  type LagoCatalog,
  type Metric,
  type Plan,
  type Refusal,
  text,
} from './catalog.ts';

const mandatory = (body: Body, ...names: string[]) =>
  Object.fromEntries(
    names.filter((name) => body[name] === undefined || body[name] === '').map((name) => [name, ['value_is_mandatory']]),
  );
const decimal = /^-?\d+(\.\d+)?$/;

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
