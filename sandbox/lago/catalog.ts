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

export type Body = Record<string, unknown>;
export type Refusal = { details: Record<string, string[]> } | { notFound: string };

export const text = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);
export const isRefusal = (value: unknown): value is Refusal =>
  typeof value === 'object' && value !== null && ('details' in value || 'notFound' in value);
