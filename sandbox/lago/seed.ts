import { isRefusal, type LagoCatalog, type Refusal } from './catalog.ts';
import { writeSubscription } from './customers.ts';
import { createMetric, writePlan } from './plans.ts';

const tokenCodes = [
  'input',
  'output',
  'cached_input',
  'cache_creation',
  'reasoning',
  'audio_input',
  'audio_output',
  'image_input',
];
const dayMs = 86_400_000;

function must<T extends object>(made: T | Refusal): T {
  if (isRefusal(made)) throw new Error(`The seed was refused: ${JSON.stringify(made)}`);
  return made;
}

/** Who pays in the simulated LiteLLM has a subscription here, on a plan with a charge for each kind of event. */
export function seedCatalog(catalog: LagoCatalog) {
  const sum = (code: string, field: string) =>
    must(createMetric(catalog, { code, name: code, aggregation_type: 'sum_agg', field_name: field }));
  const charge = (metric: { lago_id: string }, amount: string) => ({
    billable_metric_id: metric.lago_id,
    charge_model: 'standard',
    properties: { amount, grouped_by: ['model'] },
  });
  const charges = [
    charge(sum('llm_cost', 'cost'), '1'),
    charge(sum('litellm', 'response_cost'), '1'),
    ...tokenCodes.map((type) => charge(sum(`llm_${type}_tokens`, 'value'), '0.000001')),
  ];
  const plan = { code: 'payg', name: 'Pay as you go', interval: 'monthly', amount_cents: 0, amount_currency: 'USD' };
  must(writePlan(catalog, { ...plan, charges }));
  const startsAt = new Date(catalog.now().getTime() - 120 * dayMs).toISOString();
  for (const id of ['acme', 'globex', 'initech', 'umbrella']) {
    const ids = { external_id: id, external_customer_id: id, plan_code: 'payg' };
    must(writeSubscription(catalog, { ...ids, subscription_at: startsAt }));
  }
}
