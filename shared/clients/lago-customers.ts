import * as z from 'zod';
import { createLagoHttp, createLagoResources, type LagoHttpOptions } from './lago-http.ts';

const customer = z
  .object({
    external_id: z.string(),
    name: z.string().nullish(),
    email: z.string().nullish(),
    currency: z.string().nullish(),
  })
  .transform((item) => ({
    externalId: item.external_id,
    name: item.name ?? null,
    email: item.email ?? null,
    currency: item.currency ?? null,
  }));

export type LagoCustomer = z.infer<typeof customer>;

const moment = z
  .string()
  .nullish()
  .transform((text) => (text ? new Date(text) : null));

const subscription = z
  .object({
    external_id: z.string(),
    external_customer_id: z.string(),
    plan_code: z.string(),
    name: z.string().nullish(),
    status: z.string(),
    billing_time: z.string().nullish(),
    subscription_at: moment,
    started_at: moment,
    terminated_at: moment,
  })
  .transform((item) => ({
    externalId: item.external_id,
    customerId: item.external_customer_id,
    planCode: item.plan_code,
    name: item.name ?? null,
    status: item.status,
    billingTime: item.billing_time === 'anniversary' ? ('anniversary' as const) : ('calendar' as const),
    subscriptionAt: item.subscription_at,
    startedAt: item.started_at,
    terminatedAt: item.terminated_at,
  }));

export type LagoSubscription = z.infer<typeof subscription>;

const part = z.object({ units: z.string(), events_count: z.number().nullish(), amount_cents: z.number() });
const usage = z.object({
  from_datetime: z.string(),
  to_datetime: z.string(),
  issuing_date: z.string(),
  currency: z.string(),
  amount_cents: z.number(),
  taxes_amount_cents: z.number().nullish(),
  total_amount_cents: z.number(),
  charges_usage: z.array(
    part.extend({
      charge: z.object({ charge_model: z.string() }),
      billable_metric: z.object({ code: z.string(), name: z.string() }),
      filters: z.array(part.extend({ values: z.record(z.string(), z.array(z.string())).nullish() })).nullish(),
      grouped_usage: z
        .array(part.extend({ grouped_by: z.record(z.string(), z.string().nullable()).nullish() }))
        .nullish(),
    }),
  ),
});

/** What a subscription has used in its open period, in Lago's own words. */
export type LagoCurrentUsage = z.infer<typeof usage>;

export interface CustomerInput {
  external_id: string;
  name?: string | undefined;
  email?: string | undefined;
  currency?: string | undefined;
}

export interface SubscriptionInput {
  external_id: string;
  external_customer_id: string;
  plan_code: string;
  name?: string | undefined;
  billing_time?: 'calendar' | 'anniversary' | undefined;
  /** ISO 8601. Usage before it is stored and never billed. */
  subscription_at?: string | undefined;
}

export type SubscriptionStatus = 'active' | 'pending' | 'terminated';

export interface LagoCustomersClient {
  findCustomer(externalId: string, signal?: AbortSignal): Promise<LagoCustomer | undefined>;
  /** Creates, or changes what is named of one that is there. */
  writeCustomer(input: CustomerInput, signal?: AbortSignal): Promise<LagoCustomer>;
  /** The active one, else the one that is to begin, else the one that has ended. */
  findSubscription(externalId: string, signal?: AbortSignal): Promise<LagoSubscription | undefined>;
  listSubscriptions(
    query: { customerId?: string; status?: SubscriptionStatus },
    signal?: AbortSignal,
  ): Promise<LagoSubscription[]>;
  /** Look first: for an id with another plan this is an upgrade or a downgrade. */
  createSubscription(input: SubscriptionInput, signal?: AbortSignal): Promise<LagoSubscription>;
  /** Undefined when the customer is unknown. */
  currentUsage(
    ids: { customerId: string; subscriptionId: string },
    signal?: AbortSignal,
  ): Promise<LagoCurrentUsage | undefined>;
}

const path = (...parts: string[]) => `/${parts.map(encodeURIComponent).join('/')}`;

/** Customers, their subscriptions, and what they used. Fails with UpstreamError; a refusal carries Lago's reason as advice. */
export function createLagoCustomersClient(options: LagoHttpOptions): LagoCustomersClient {
  const lago = createLagoResources(createLagoHttp(options));
  return {
    findCustomer: (id, signal) => lago.find(path('customers', id), 'customer', customer, signal),
    writeCustomer: (input, signal) =>
      lago.write({ method: 'POST', path: '/customers', json: { customer: input }, signal }, 'customer', customer),
    async findSubscription(id, signal) {
      for (const status of ['active', 'pending', 'terminated'] as const) {
        const query = status === 'active' ? {} : { status };
        const found = await lago.find(path('subscriptions', id), 'subscription', subscription, signal, query);
        if (found !== undefined) return found;
      }
      return undefined;
    },
    async listSubscriptions({ customerId, status = 'active' }, signal) {
      const query = { external_customer_id: customerId, ...(status === 'active' ? {} : { 'status[]': status }) };
      const found: LagoSubscription[] = [];
      for await (const item of lago.list('/subscriptions', 'subscriptions', subscription, query, signal)) {
        found.push(item);
      }
      return found;
    },
    createSubscription: (input, signal) =>
      lago.write(
        { method: 'POST', path: '/subscriptions', json: { subscription: input }, signal },
        'subscription',
        subscription,
      ),
    currentUsage: ({ customerId, subscriptionId }, signal) =>
      lago.find(path('customers', customerId, 'current_usage'), 'customer_usage', usage, signal, {
        external_subscription_id: subscriptionId,
      }),
  };
}
