import { divideHalfEven, formatUsd, parseUsd } from '../../shared/money.ts';
import type { Stored } from '../lago-events.ts';
import { type SandboxCall, sendJson } from '../server.ts';
import { sendNotFound, sendRefused } from './answers.ts';
import type { Charge, Customer, LagoCatalog, Metric, Plan, Subscription } from './catalog.ts';

const one = 10n ** 12n;
const numeric = /^-?\d+(\.\d+)?$/;
const zeroDecimal = ['JPY', 'KRW', 'VND', 'CLP', 'ISK', 'XOF', 'XAF', 'PYG', 'UGX'];

/** The text that PostgreSQL's `->>` gives; JSON numbers lose their exponent in jsonb. */
function propertyText(value: unknown): string {
  if (typeof value === 'number') return formatUsd(parseUsd(value));
  return value === undefined || value === null ? '' : String(value);
}

/** 1e-12 units of what one event adds; undefined for an event that Lago's aggregation leaves out without a word. */
function unitsOf(event: Stored, metric: Metric): bigint | undefined {
  if (metric.aggregation_type === 'count_agg') return one;
  const value = propertyText(event.properties[metric.field_name ?? '']);
  return numeric.test(value) ? parseUsd(value) : undefined;
}

interface Sum {
  units: bigint;
  /** 1e-12 cents. */
  preciseCents: bigint;
  events: number;
}

function add(events: Stored[], metric: Metric): Sum {
  const sum = { units: 0n, preciseCents: 0n, events: 0 };
  for (const event of events) {
    const units = unitsOf(event, metric);
    if (units === undefined) continue;
    sum.units += units;
    const cents = event.precise_total_amount_cents;
    sum.preciseCents += cents !== null && numeric.test(cents) ? parseUsd(cents) : 0n;
    sum.events += 1;
  }
  return sum;
}

/** A fee in whole cents, rounded once. */
function price(charge: Charge, properties: Record<string, unknown>, sum: Sum, subunits: bigint): bigint {
  const { units, preciseCents } = sum;
  const amount = parseUsd(String(properties.amount ?? '0'));
  switch (charge.charge_model) {
    case 'dynamic':
      return units === 0n ? 0n : divideHalfEven(preciseCents, one);
    case 'standard':
      return divideHalfEven(units * amount * subunits, one * one);
    case 'package': {
      const size = BigInt(Number(properties.package_size ?? 1)) * one;
      const billed = units - BigInt(Number(properties.free_units ?? 0)) * one;
      const packages = billed <= 0n ? 0n : (billed + size - 1n) / size;
      return divideHalfEven(packages * amount * subunits, one);
    }
    default:
      throw new Error(`The sandbox prices no ${charge.charge_model} charges`);
  }
}

/** The calendar month of UTC around `now`, never before the subscription began. */
function periodOf(subscription: Subscription, now: Date) {
  const start = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), 1));
  const end = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1, 1) - 1);
  const startedAt = new Date(subscription.started_at ?? now);
  return { from: startedAt > start ? startedAt : start, to: end };
}

const groupKeys = ({ properties }: Charge): string[] =>
  (properties.pricing_group_keys ?? properties.grouped_by ?? []) as string[];

function usageOf(charge: Charge, metric: Metric, events: Stored[], plan: Plan) {
  const subunits = zeroDecimal.includes(plan.amount_currency) ? 1n : 100n;
  const own = events.filter(({ code }) => code === metric.code);
  const left = new Set(own);
  const parts: { properties: Record<string, unknown>; values: Record<string, string[]> | null; events: Stored[] }[] =
    [];
  for (const filter of charge.filters) {
    const found = [...left].filter((event) =>
      Object.entries(filter.values).every(([key, values]) => {
        const all = metric.filters.find((item) => item.key === key)?.values ?? [];
        const wanted = values.includes('__ALL_FILTER_VALUES__') ? all : values;
        return wanted.includes(propertyText(event.properties[key]));
      }),
    );
    for (const event of found) left.delete(event);
    parts.push({ properties: filter.properties, values: filter.values, events: found });
  }
  parts.push({ properties: charge.properties, values: null, events: [...left] });

  const fees = parts.flatMap((part) => {
    const groups = Map.groupBy(part.events, (event) =>
      JSON.stringify(groupKeys(charge).map((key) => [key, propertyText(event.properties[key])])),
    );
    return [...groups].map(([key, members]) => {
      const sum = add(members, metric);
      const groupedBy = Object.fromEntries(JSON.parse(key) as [string, string][]);
      return { part, groupedBy, sum, cents: price(charge, part.properties, sum, subunits) };
    });
  });
  const total = add(own, metric);
  const amount = fees.reduce((cents, fee) => cents + fee.cents, 0n);
  const shown = (sum: Sum, cents: bigint) => ({
    units: formatUsd(sum.units),
    events_count: sum.events,
    amount_cents: Number(cents),
  });
  return {
    ...shown(total, amount),
    total_aggregated_units: formatUsd(total.units),
    amount_currency: plan.amount_currency,
    charge: {
      lago_id: charge.lago_id,
      ...(charge.code === undefined ? {} : { code: charge.code }),
      charge_model: charge.charge_model,
      invoice_display_name: charge.invoice_display_name,
    },
    billable_metric: {
      lago_id: metric.lago_id,
      name: metric.name,
      code: metric.code,
      aggregation_type: metric.aggregation_type,
    },
    filters: fees
      .filter(({ part }) => part.values !== null || charge.filters.length > 0)
      .map(({ part, sum, cents }) => ({ ...shown(sum, cents), values: part.values, invoice_display_name: null })),
    grouped_usage:
      groupKeys(charge).length === 0
        ? []
        : fees.map(({ groupedBy, sum, cents }) => ({ ...shown(sum, cents), grouped_by: groupedBy, filters: [] })),
  };
}

export function answerCurrentUsage(call: SandboxCall, catalog: LagoCatalog, events: Stored[], customer: Customer) {
  const wanted = call.query.get('external_subscription_id');
  const subscription = catalog.subscriptions.find(
    (item) =>
      item.external_customer_id === customer.external_id && item.external_id === wanted && item.status === 'active',
  );
  const plan = catalog.plans.find(({ code }) => code === subscription?.plan_code);
  if (subscription === undefined || plan === undefined) {
    return sendJson(call.res, 405, { status: 405, error: 'Method Not Allowed', code: 'no_active_subscription' });
  }
  const { from, to } = periodOf(subscription, catalog.now());
  const inside = events.filter(({ external_subscription_id: id, timestamp }) => {
    const at = Date.parse(timestamp);
    return id === subscription.external_id && at >= from.getTime() && at <= to.getTime();
  });
  const usages = plan.charges.map((charge) => {
    const metric = catalog.metrics.find(({ lago_id: id }) => id === charge.lago_billable_metric_id);
    return usageOf(charge, metric as Metric, inside, plan);
  });
  const amount = usages.reduce((cents, usage) => cents + usage.amount_cents, 0);
  sendJson(call.res, 200, {
    customer_usage: {
      from_datetime: from.toISOString(),
      to_datetime: to.toISOString(),
      issuing_date: new Date(to.getTime() + 1).toISOString().slice(0, 10),
      currency: plan.amount_currency,
      amount_cents: amount,
      taxes_amount_cents: 0,
      total_amount_cents: amount,
      lago_invoice_id: null,
      charges_usage: usages,
    },
  });
}

/** The strict validator behind estimate_fees: it stores nothing and says what a plain event would hide. */
export function answerEstimate(call: SandboxCall, catalog: LagoCatalog, event: Record<string, unknown>) {
  const subscription = catalog.subscriptions.find(
    (item) => item.external_id === event.external_subscription_id && item.status === 'active',
  );
  if (subscription === undefined) return sendNotFound(call, 'subscription_not_found');
  const metric = catalog.metrics.find(({ code }) => code === event.code);
  if (metric === undefined) return sendNotFound(call, 'billable_metric_not_found');
  const value = (event.properties as Record<string, unknown> | undefined)?.[metric.field_name ?? ''];
  if (metric.aggregation_type === 'sum_agg' && !numeric.test(propertyText(value))) {
    return sendRefused(call, { properties: ['value_is_not_valid_number'] });
  }
  const plan = catalog.plans.find(({ code }) => code === subscription.plan_code);
  const instant = plan?.charges.find((charge) => charge.billable_metric_code === metric.code && charge.pay_in_advance);
  if (instant === undefined) return sendRefused(call, { code: ['does_not_match_an_instant_charge'] });
  return sendJson(call.res, 200, { fees: [] });
}
