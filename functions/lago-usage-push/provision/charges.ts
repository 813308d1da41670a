import type { ChargeInput, LagoCharge } from '#shared/clients/lago-plans.ts';
import { toPlainDecimal } from './decimal.ts';
import type { ChargeSpec } from './plan-file.ts';

/** A charge as Lago takes it, but for the id of its metric. */
export type WantedCharge = Omit<ChargeInput, 'billable_metric_id'>;

/** Whether `version` ("1.39.0") is `minor` of 1.x or later. */
export function isSince(version: string, minor: number, patch = 0): boolean {
  const [major = 0, foundMinor = 0, foundPatch = 0] = version.replace(/^v/, '').split('.').map(Number);
  return major > 1 || (major === 1 && (foundMinor > minor || (foundMinor === minor && foundPatch >= patch)));
}

/** What the version in use cannot do; undefined when it can. */
export function findObstacle(spec: ChargeSpec, version: string): string | undefined {
  const isDynamic =
    'cost_pass_through' in spec
      ? spec.cost_pass_through.charge_model === 'dynamic'
      : 'charge_model' in spec && spec.charge_model === 'dynamic';
  if (isDynamic && !isSince(version, 13, 1)) {
    return `dynamic charges came with Lago 1.13.1, this is ${version}: use the standard charge model`;
  }
  return undefined;
}

/** Group keys have another name before 1.30, and only standard charges have them there. */
function toGroupKeys(keys: string[], model: string, version: string): Record<string, string[]> {
  if (keys.length === 0) return {};
  if (isSince(version, 30)) return { pricing_group_keys: keys };
  return model === 'standard' ? { grouped_by: keys } : {};
}

/** The charge that a plan file means, in the words of this version of Lago. */
export function toWantedCharge(spec: ChargeSpec, version: string): WantedCharge {
  const common = {
    pay_in_advance: spec.pay_in_advance,
    ...(spec.invoice_display_name === undefined ? {} : { invoice_display_name: spec.invoice_display_name }),
  };
  if ('cost_pass_through' in spec) {
    const { charge_model: model, markup, group_by: keys } = spec.cost_pass_through;
    const amount = model === 'standard' ? { amount: markup } : {};
    return {
      ...common,
      charge_model: model,
      properties: { ...amount, ...toGroupKeys(keys, model, version) },
      filters: [],
    };
  }
  if ('model_prices' in spec) {
    const { per, prices, default: fallback } = spec.model_prices;
    const places = String(per).length - 1;
    return {
      ...common,
      charge_model: 'standard',
      properties: { amount: toPlainDecimal(fallback, places) },
      filters: Object.entries(prices).map(([model, price]) => ({
        invoice_display_name: model,
        properties: { amount: toPlainDecimal(price, places) },
        values: { model: [model] },
      })),
    };
  }
  return { ...common, charge_model: spec.charge_model, properties: spec.properties, filters: [] };
}

function toComparable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toComparable);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, item]) => item !== null && !(Array.isArray(item) && item.length === 0))
        .map(([key, item]) => [key === 'grouped_by' ? 'pricing_group_keys' : key, toComparable(item)])
        .toSorted(([left], [right]) => String(left).localeCompare(String(right))),
    );
  }
  if (typeof value !== 'string' && typeof value !== 'number') return value;
  try {
    return toPlainDecimal(value);
  } catch {
    return value;
  }
}

export interface Difference {
  from: unknown;
  to: unknown;
}

const isSame = (left: unknown, right: unknown) =>
  JSON.stringify(toComparable(left)) === JSON.stringify(toComparable(right));

const byValues = (filters: { values: Record<string, string[]>; properties: Record<string, unknown> }[]) =>
  new Map(filters.map((filter) => [JSON.stringify(toComparable(filter.values)), filter.properties]));

/** Where a charge of Lago is not the one that is wanted: `fixed` is what only another charge could change. */
export function compareCharge(found: LagoCharge, wanted: WantedCharge) {
  const changes: Record<string, Difference> = {};
  const fixed: Record<string, Difference> = {};
  if (found.chargeModel !== wanted.charge_model)
    fixed.charge_model = { from: found.chargeModel, to: wanted.charge_model };
  if (found.payInAdvance !== wanted.pay_in_advance) {
    fixed.pay_in_advance = { from: found.payInAdvance, to: wanted.pay_in_advance };
  }
  if (!isSame(found.properties, wanted.properties))
    changes.properties = { from: found.properties, to: wanted.properties };
  const before = byValues(found.filters);
  const after = byValues(wanted.filters);
  for (const key of new Set([...before.keys(), ...after.keys()])) {
    const [from, to] = [before.get(key) ?? null, after.get(key) ?? null];
    if (!isSame(from, to)) changes[`filter ${key}`] = { from, to };
  }
  return { changes, fixed };
}
