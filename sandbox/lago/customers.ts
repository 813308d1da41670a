import { randomUUID } from 'node:crypto';
import {
  type Body,
  type Customer,
  isRefusal,
  type LagoCatalog,
  type Refusal,
  type Subscription,
  text,
} from './catalog.ts';

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
