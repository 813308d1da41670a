import { ConfigError } from '#shared/errors.ts';
import { formatUsd, type PicoUsd, parseUsd } from '#shared/money.ts';
import type { Tokens } from './tokens.ts';

/** USD per token, by LiteLLM's names, so that its published table and its `model_info` can be used as they are. */
const priceNames = {
  input_cost_per_token: 'input',
  output_cost_per_token: 'output',
  cache_read_input_token_cost: 'cached_input',
  cache_creation_input_token_cost: 'cache_creation',
  output_cost_per_reasoning_token: 'reasoning',
  input_cost_per_audio_token: 'audio_input',
  output_cost_per_audio_token: 'audio_output',
  input_cost_per_image_token: 'image_input',
} as const;

type Rates = { [Type in keyof Required<Tokens>]?: PicoUsd };

interface Price extends Rates {
  /** What holds instead, for the whole call, once its input is longer; the longest first. */
  tiers?: { above: number; rates: Rates }[];
}

const tierName = /^(.+)_above_(\d{1,6})k_tokens$/;

/** The price of each model; names are compared as they are written, then without what stands before the last slash. */
export type Prices = ReadonlyMap<string, Price>;

function toPrice(table: string, model: string, given: unknown): Price {
  if (typeof given !== 'object' || given === null) throw new ConfigError([`${table}: ${model} must be an object`]);
  const price: Price = {};
  const tiers = new Map<number, Rates>();
  for (const [name, value] of Object.entries(given)) {
    const [, plain = name, thousands] = tierName.exec(name) ?? [];
    const type = priceNames[plain as keyof typeof priceNames];
    if (type === undefined || value === null) continue;
    try {
      if (typeof value !== 'number' && typeof value !== 'string') throw new RangeError();
      const usd = parseUsd(value);
      if (usd < 0n) throw new RangeError();
      const above = Number(thousands) * 1_000;
      const rates = thousands === undefined ? price : (tiers.get(above) ?? {});
      rates[type] = usd;
      if (thousands !== undefined) tiers.set(above, rates);
    } catch {
      throw new ConfigError([`${table}: ${name} of ${model} must be USD per token, such as 0.00000015`]);
    }
  }
  if (tiers.size > 0) {
    price.tiers = [...tiers].map(([above, rates]) => ({ above, rates })).toSorted((a, b) => b.above - a.above);
  }
  return price;
}

/**
 * Reads a price table: `{"gpt-4o-mini": {"input_cost_per_token": 1.5e-7, "output_cost_per_token": 6e-7, ...}}`. Fields that
 * we do not know are left aside (LiteLLM's table has dozens). Later tables override models of earlier ones whole.
 * Throws ConfigError.
 */
export function readPrices(...tables: { name: string; table: unknown }[]): Prices {
  const prices = new Map<string, Price>();
  for (const { name, table } of tables) {
    if (typeof table !== 'object' || table === null || Array.isArray(table)) {
      throw new ConfigError([`${name}: must be an object of models`]);
    }
    for (const [model, given] of Object.entries(table)) {
      if (model !== 'sample_spec') prices.set(model, toPrice(name, model, given));
    }
  }
  return prices;
}

export function findPrice(prices: Prices, ...models: (string | undefined)[]): Price | undefined {
  for (const model of models) {
    if (model === undefined) continue;
    const found = prices.get(model) ?? prices.get(model.slice(model.lastIndexOf('/') + 1));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** A part, the whole it is counted in, and what is charged for the rest of the whole. */
const parts = [
  ['cached_input', 'input'],
  ['cache_creation', 'input'],
  ['audio_input', 'input'],
  ['image_input', 'input'],
  ['reasoning', 'output'],
  ['audio_output', 'output'],
] as const;

function ratesFor({ input = 0, cached_input = 0, cache_creation = 0 }: Tokens, price: Price, additive: boolean): Rates {
  const length = input + (additive ? cached_input + cache_creation : 0);
  return { ...price, ...price.tiers?.find(({ above }) => length > above)?.rates };
}

/**
 * What a call costs. A part of the input or the output with a price of its own is charged by it and taken out of the
 * whole; `additive` (Anthropic) means that the cached parts were never in it. A part without a price costs what its whole
 * costs. undefined where the price of something that was counted is not known: never a cost that is too low.
 */
export function costOf(tokens: Tokens, found: Price | undefined, additive: boolean): PicoUsd | undefined {
  if (found === undefined) return undefined;
  const price = found.tiers === undefined ? found : ratesFor(tokens, found, additive);
  const left = { input: tokens.input ?? 0, output: tokens.output ?? 0 };
  let cost = 0n;
  for (const [part, whole] of parts) {
    const counted = tokens[part] ?? 0;
    if (counted === 0) continue;
    const isBeside = additive && (part === 'cached_input' || part === 'cache_creation');
    const own = price[part];
    if (own === undefined) {
      if (isBeside) left[whole] += counted;
      continue;
    }
    // Parts overlap in odd answers (cached audio): never below nothing.
    const charged = isBeside ? counted : Math.min(counted, left[whole]);
    if (!isBeside) left[whole] -= charged;
    cost += own * BigInt(charged);
  }
  for (const whole of ['input', 'output'] as const) {
    if (left[whole] === 0) continue;
    const own = price[whole];
    if (own === undefined) return undefined;
    cost += own * BigInt(left[whole]);
  }
  return cost;
}

export const toCostUsd = (cost: PicoUsd | undefined): string | null => (cost === undefined ? null : formatUsd(cost));
