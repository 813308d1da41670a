import type { LagoCurrentUsage, LagoCustomersClient, LagoSubscription } from '#shared/clients/lago-customers.ts';
import type { LagoPlan, LagoPlansClient } from '#shared/clients/lago-plans.ts';

/** Amounts are in the currency's smallest unit, as Lago has them. */
export interface SubscriptionUsage {
  subscription: string;
  plan_code: string;
  from: string;
  to: string;
  currency: string;
  usage_amount_cents: number;
  usage_taxes_amount_cents: number;
  usage: { metric: string; group: Record<string, string | null>; units: string; amount_cents: number }[];
  upcoming_invoice: {
    issuing_date: string;
    usage_amount_cents: number;
    subscription_amount_cents: number;
    /** Usage with its taxes, and the plan's own fee before taxes. */
    total_amount_cents: number;
  };
}

export interface CustomerUsage {
  customer: string;
  subscriptions: SubscriptionUsage[];
  /** What Lago will ask for if nothing more is used, by day and currency. */
  upcoming_invoices: { issuing_date: string; currency: string; amount_cents: number }[];
}

function toParts({ charges_usage: charges }: LagoCurrentUsage): SubscriptionUsage['usage'] {
  return charges.flatMap(({ billable_metric: { code }, units, amount_cents: amount, grouped_usage, filters }) => {
    const groups = (grouped_usage ?? []).map((part) => ({ ...part, group: part.grouped_by ?? {} }));
    const filtered = (filters ?? []).map((part) => ({
      ...part,
      group: Object.fromEntries(Object.entries(part.values ?? {}).map(([key, values]) => [key, values.join(', ')])),
    }));
    const parts =
      groups.length > 0 ? groups : filtered.length > 0 ? filtered : [{ units, amount_cents: amount, group: {} }];
    return parts.map((part) => ({
      metric: code,
      group: part.group,
      units: part.units,
      amount_cents: part.amount_cents,
    }));
  });
}

/** One subscription's open period. A plan paid in advance has its fee for the next period on the same invoice. */
export function toSubscriptionUsage(
  subscription: LagoSubscription,
  usage: LagoCurrentUsage,
  plan: LagoPlan | undefined,
): SubscriptionUsage {
  const fee = plan?.amountCents ?? 0;
  return {
    subscription: subscription.externalId,
    plan_code: subscription.planCode,
    from: usage.from_datetime,
    to: usage.to_datetime,
    currency: usage.currency,
    usage_amount_cents: usage.amount_cents,
    usage_taxes_amount_cents: usage.taxes_amount_cents ?? 0,
    usage: toParts(usage),
    upcoming_invoice: {
      issuing_date: usage.issuing_date,
      usage_amount_cents: usage.total_amount_cents,
      subscription_amount_cents: fee,
      total_amount_cents: usage.total_amount_cents + fee,
    },
  };
}

export function addUpInvoices(subscriptions: SubscriptionUsage[]): CustomerUsage['upcoming_invoices'] {
  const groups = Map.groupBy(subscriptions, (item) => `${item.upcoming_invoice.issuing_date} ${item.currency}`);
  return [...groups.values()].map((items) => ({
    issuing_date: items[0]?.upcoming_invoice.issuing_date ?? '',
    currency: items[0]?.currency ?? '',
    amount_cents: items.reduce((sum, item) => sum + item.upcoming_invoice.total_amount_cents, 0),
  }));
}

/** A customer's active subscriptions with what they used so far; undefined when Lago knows no such customer. */
export async function readUsage(
  lago: { customers: LagoCustomersClient; plans: LagoPlansClient },
  customer: string,
  signal?: AbortSignal,
): Promise<CustomerUsage | undefined> {
  if ((await lago.customers.findCustomer(customer, signal)) === undefined) return undefined;
  const found: SubscriptionUsage[] = [];
  for (const subscription of await lago.customers.listSubscriptions({ customerId: customer }, signal)) {
    const ids = { customerId: customer, subscriptionId: subscription.externalId };
    const usage = await lago.customers.currentUsage(ids, signal);
    const plan = await lago.plans.findPlan(subscription.planCode, signal);
    if (usage !== undefined) found.push(toSubscriptionUsage(subscription, usage, plan));
  }
  return { customer, subscriptions: found, upcoming_invoices: addUpInvoices(found) };
}
