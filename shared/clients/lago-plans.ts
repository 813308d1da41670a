import * as z from 'zod';
import { createLagoHttp, createLagoResources, type LagoHttpOptions } from './lago-http.ts';

const filter = z.object({ key: z.string(), values: z.array(z.string()) });

const metric = z
  .object({
    lago_id: z.string(),
    code: z.string(),
    name: z.string(),
    aggregation_type: z.string(),
    field_name: z.string().nullish(),
    filters: z.array(filter).nullish(),
  })
  .transform((item) => ({
    lagoId: item.lago_id,
    code: item.code,
    name: item.name,
    aggregationType: item.aggregation_type,
    fieldName: item.field_name ?? null,
    filters: item.filters ?? [],
  }));

/** A billable metric. */
export type LagoMetric = z.infer<typeof metric>;

const properties = z
  .record(z.string(), z.unknown())
  .nullish()
  .transform((found) => found ?? {});

const charge = z
  .object({
    lago_id: z.string(),
    code: z.string().nullish(),
    lago_billable_metric_id: z.string(),
    billable_metric_code: z.string().nullish(),
    invoice_display_name: z.string().nullish(),
    charge_model: z.string(),
    pay_in_advance: z.boolean().nullish(),
    properties,
    filters: z
      .array(
        z.object({
          invoice_display_name: z.string().nullish(),
          properties,
          values: z.record(z.string(), z.array(z.string())),
        }),
      )
      .nullish(),
  })
  .transform((item) => ({
    lagoId: item.lago_id,
    /** Since 1.39. */
    code: item.code ?? null,
    metricId: item.lago_billable_metric_id,
    metricCode: item.billable_metric_code ?? null,
    invoiceDisplayName: item.invoice_display_name ?? null,
    chargeModel: item.charge_model,
    payInAdvance: item.pay_in_advance ?? false,
    properties: item.properties,
    filters: item.filters ?? [],
  }));

export type LagoCharge = z.infer<typeof charge>;

const plan = z
  .object({
    lago_id: z.string(),
    code: z.string(),
    name: z.string(),
    interval: z.string(),
    amount_cents: z.number(),
    amount_currency: z.string(),
    pay_in_advance: z.boolean().nullish(),
    charges: z.array(charge).nullish(),
  })
  .transform((item) => ({
    lagoId: item.lago_id,
    code: item.code,
    name: item.name,
    interval: item.interval,
    amountCents: item.amount_cents,
    currency: item.amount_currency,
    payInAdvance: item.pay_in_advance ?? false,
    charges: item.charges ?? [],
  }));

export type LagoPlan = z.infer<typeof plan>;

/** A charge as Lago takes it; amounts are decimal strings in the currency's units. */
export interface ChargeInput {
  billable_metric_id: string;
  charge_model: string;
  pay_in_advance: boolean;
  invoice_display_name?: string;
  properties: Record<string, unknown>;
  filters: { invoice_display_name?: string; properties: Record<string, unknown>; values: Record<string, string[]> }[];
}

export interface MetricInput {
  code: string;
  name: string;
  aggregation_type: string;
  field_name?: string;
  filters: { key: string; values: string[] }[];
}

export interface PlanInput {
  code: string;
  name: string;
  interval: string;
  amount_cents: number;
  amount_currency: string;
  pay_in_advance: boolean;
  charges: ChargeInput[];
}

export interface LagoPlansClient {
  findMetric(code: string, signal?: AbortSignal): Promise<LagoMetric | undefined>;
  createMetric(input: MetricInput, signal?: AbortSignal): Promise<LagoMetric>;
  /** The whole list: Lago replaces what it had. */
  setMetricFilters(metric: LagoMetric, filters: MetricInput['filters'], signal?: AbortSignal): Promise<LagoMetric>;
  findPlan(code: string, signal?: AbortSignal): Promise<LagoPlan | undefined>;
  createPlan(input: PlanInput, signal?: AbortSignal): Promise<LagoPlan>;
  /** Its charges stay as they are. */
  updatePlan(code: string, input: { name?: string; amount_cents?: number }, signal?: AbortSignal): Promise<LagoPlan>;
  /**
   * Adds and re-prices charges; every other charge of the plan stays what it is. `update` is by the charge's Lago id.
   * One call each by the charge's code where Lago has such routes (1.39), else one PUT of the plan that names every charge by its
   * id: Lago destroys what a PUT leaves out, and makes anew what comes without an id.
   */
  changeCharges(
    plan: LagoPlan,
    change: { create: ChargeInput[]; update: { lagoId: string; input: ChargeInput }[] },
    signal?: AbortSignal,
  ): Promise<void>;
}

/** A charge as it is, in the words of a PUT. */
const toKept = (kept: LagoCharge) => ({
  id: kept.lagoId,
  billable_metric_id: kept.metricId,
  charge_model: kept.chargeModel,
  pay_in_advance: kept.payInAdvance,
  ...(kept.invoiceDisplayName === null ? {} : { invoice_display_name: kept.invoiceDisplayName }),
  properties: kept.properties,
  filters: kept.filters,
});

/** Billable metrics, plans and charges. Fails with UpstreamError; a refusal carries Lago's reason as advice. */
export function createLagoPlansClient(options: LagoHttpOptions): LagoPlansClient {
  const lago = createLagoResources(createLagoHttp(options));
  const at = (...parts: string[]) => `/${parts.map(encodeURIComponent).join('/')}`;

  return {
    findMetric: (code, signal) => lago.find(at('billable_metrics', code), 'billable_metric', metric, signal),
    createMetric: (input, signal) =>
      lago.write(
        { method: 'POST', path: '/billable_metrics', json: { billable_metric: input }, signal },
        'billable_metric',
        metric,
      ),
    setMetricFilters: ({ code }, filters, signal) =>
      lago.write(
        { method: 'PUT', path: at('billable_metrics', code), json: { billable_metric: { filters } }, signal },
        'billable_metric',
        metric,
      ),
    findPlan: (code, signal) => lago.find(at('plans', code), 'plan', plan, signal),
    createPlan: (input, signal) =>
      lago.write({ method: 'POST', path: '/plans', json: { plan: input }, signal }, 'plan', plan),
    updatePlan: (code, input, signal) =>
      lago.write({ method: 'PUT', path: at('plans', code), json: { plan: input }, signal }, 'plan', plan),

    async changeCharges(old, { create, update }, signal) {
      // Plans of 1.39 and later show their charges' codes; a plan without charges does not say, so it is asked.
      const hasRoutes =
        old.charges.some(({ code }) => code !== null) ||
        (old.charges.length === 0 && (await hasChargeRoutes(old.code, signal)));
      if (hasRoutes) {
        for (const input of create) {
          const json = { charge: input };
          await lago.write({ method: 'POST', path: at('plans', old.code, 'charges'), json, signal }, 'charge', charge);
        }
        for (const { lagoId, input } of update) {
          const code = old.charges.find((item) => item.lagoId === lagoId)?.code ?? lagoId;
          const path = at('plans', old.code, 'charges', code);
          await lago.write({ method: 'PUT', path, json: { charge: input }, signal }, 'charge', charge);
        }
        return;
      }
      const changed = new Map(update.map(({ lagoId, input }) => [lagoId, input]));
      const kept = old.charges.map((item) => ({ ...toKept(item), ...changed.get(item.lagoId) }));
      const json = { plan: { charges: [...kept, ...create] } };
      await lago.write({ method: 'PUT', path: at('plans', old.code), json, signal }, 'plan', plan);
    },
  };

  async function hasChargeRoutes(code: string, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      for await (const _ of lago.list(at('plans', code, 'charges'), 'charges', charge, {}, signal)) break;
      return true;
    } catch (error) {
      if (error instanceof Error && 'status' in error && error.status === 404) return false;
      throw error;
    }
  }
}
