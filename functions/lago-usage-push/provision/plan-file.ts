import * as z from 'zod';
import { HttpError } from '#shared/errors.ts';
import { toPlainDecimal } from './decimal.ts';
import { readYaml } from './read-yaml.ts';

const code = z.string().trim().min(1).max(200);
/** Lago strips spaces around its external ids, and its routes take no slash. */
const externalId = z
  .string()
  .trim()
  .min(1)
  .max(200)
  .regex(/^[^/]+$/, 'must not contain a slash');
const currency = z.string().regex(/^[A-Z]{3}$/, 'must be a currency such as USD');

const price = z.union([z.number(), z.string()]).transform((value, context) => {
  try {
    const text = toPlainDecimal(value);
    if (!text.startsWith('-')) return text;
  } catch {}
  context.addIssue('must be a decimal number that is not negative');
  return z.NEVER;
});

const shared = {
  billable_metric: code,
  invoice_display_name: z.string().optional(),
  pay_in_advance: z.boolean().default(false),
};

const charge = z.union(
  [
    z.strictObject({
      ...shared,
      /** The event carries what the call cost; `markup` multiplies it. */
      cost_pass_through: z.strictObject({
        charge_model: z.enum(['standard', 'dynamic']).default('standard'),
        markup: price.default('1'),
        group_by: z.array(z.string().min(1)).default(['model']),
      }),
    }),
    z.strictObject({
      ...shared,
      /** Prices of `per` units by model; `default` is what every other model costs. */
      model_prices: z.strictObject({
        per: z.union([z.literal(1), z.literal(1_000), z.literal(1_000_000)]).default(1_000_000),
        prices: z.record(z.string().min(1), price),
        default: price,
      }),
    }),
    z.strictObject({
      ...shared,
      /** Lago's own words, for what the two above do not say. */
      charge_model: z.string(),
      properties: z.record(z.string(), z.unknown()),
    }),
  ],
  'needs cost_pass_through, model_prices (with default), or charge_model and properties, and nothing unknown',
);

const moment = z
  .union([z.iso.datetime({ offset: true }), z.iso.date()])
  .transform((text) => new Date(text).toISOString());

const planFile = z.strictObject({
  version: z.literal(1),
  /** Where GET /health is out of reach. */
  lago_version: z
    .string()
    .regex(/^v?\d+\.\d+\.\d+$/)
    .optional(),
  billable_metrics: z
    .array(
      z.strictObject({
        code,
        name: z.string().min(1).optional(),
        aggregation_type: z.enum(['count_agg', 'sum_agg', 'max_agg', 'latest_agg', 'unique_count_agg']),
        field_name: z.string().min(1).optional(),
        filters: z.array(z.strictObject({ key: z.string().min(1), values: z.array(z.string().min(1)) })).default([]),
      }),
    )
    .default([]),
  plans: z
    .array(
      z.strictObject({
        code,
        name: z.string().min(1).optional(),
        interval: z.enum(['weekly', 'monthly', 'quarterly', 'semiannual', 'yearly']).default('monthly'),
        amount_cents: z.int().nonnegative().default(0),
        amount_currency: currency,
        pay_in_advance: z.boolean().default(false),
        charges: z.array(charge).default([]),
      }),
    )
    .default([]),
  customers: z
    .array(
      z.strictObject({
        external_id: externalId,
        name: z.string().optional(),
        email: z.string().optional(),
        currency: currency.optional(),
      }),
    )
    .default([]),
  subscriptions: z
    .array(
      z.strictObject({
        external_id: externalId,
        external_customer_id: externalId,
        plan_code: code,
        name: z.string().optional(),
        billing_time: z.enum(['calendar', 'anniversary']).optional(),
        subscription_at: moment.optional(),
      }),
    )
    .default([]),
});

export type PlanFile = z.infer<typeof planFile>;
export type ChargeSpec = PlanFile['plans'][number]['charges'][number];

function repeated(ids: string[]): string[] {
  return [...new Set(ids.filter((id, index) => ids.indexOf(id) !== index))];
}

function findProblems(file: PlanFile): string[] {
  const lists: [string, string[]][] = [
    ['billable_metrics', file.billable_metrics.map((item) => item.code)],
    ['plans', file.plans.map((item) => item.code)],
    ['customers', file.customers.map((item) => item.external_id)],
    ['subscriptions', file.subscriptions.map((item) => item.external_id)],
    ...file.plans.map((plan): [string, string[]] => [
      `charges of plan ${plan.code}`,
      plan.charges.map((item) => item.billable_metric),
    ]),
  ];
  const problems = lists.flatMap(([name, ids]) => repeated(ids).map((id) => `${name}: ${id} is there twice`));
  for (const metric of file.billable_metrics) {
    if (metric.aggregation_type !== 'count_agg' && metric.field_name === undefined) {
      problems.push(`billable_metrics: ${metric.code} needs field_name`);
    }
  }
  for (const plan of file.plans) {
    for (const item of plan.charges) {
      if (!('cost_pass_through' in item)) continue;
      const { charge_model: model, markup } = item.cost_pass_through;
      if (model === 'dynamic' && markup !== '1') {
        problems.push(`plan ${plan.code}: a dynamic charge takes its amount from the event: put the markup there`);
      }
    }
  }
  return problems;
}

/** Reads a plan file, YAML or JSON. Throws HttpError 400 `bad_plan` that names what is wrong with it. */
export async function parsePlanFile(text: string): Promise<PlanFile> {
  let value: unknown;
  try {
    value = await readYaml(text);
  } catch (error) {
    throw new HttpError(400, `The plan is neither YAML nor JSON: ${(error as Error).message}`, { code: 'bad_plan' });
  }
  const parsed = planFile.safeParse(value);
  const problems = parsed.success
    ? findProblems(parsed.data)
    : parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'the plan'}: ${message}`);
  if (parsed.success && problems.length === 0) return parsed.data;
  throw new HttpError(400, `The plan has mistakes: ${problems.join('; ')}`, { code: 'bad_plan' });
}
