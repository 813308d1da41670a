import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatUsd } from '#shared/money.ts';
import {
  costOf,
  findPrice,
  readPrices as readNamed,
  toCostUsd,
} from '../../../functions/completion-proxy/usage/prices.ts';

const readPrices = (...tables: unknown[]) => readNamed(...tables.map((table) => ({ name: 'PRICES', table })));

const prices = readPrices({
  sample_spec: { input_cost_per_token: 'a text' },
  'gpt-4o-mini': {
    input_cost_per_token: 1.5e-7,
    output_cost_per_token: 6e-7,
    cache_read_input_token_cost: 7.5e-8,
    litellm_provider: 'openai',
    max_tokens: 16_384,
  },
  claude: {
    input_cost_per_token: 3e-6,
    output_cost_per_token: 1.5e-5,
    cache_read_input_token_cost: 3e-7,
    cache_creation_input_token_cost: 3.75e-6,
  },
  embed: { input_cost_per_token: '0.00000002' },
});
const usd = (...args: Parameters<typeof costOf>) => toCostUsd(costOf(...args));

describe('the cost of a call', () => {
  it('takes a cached part out of the input where the provider counts it within', () => {
    const tokens = { input: 1_000, cached_input: 400, output: 10 };
    expect(usd(tokens, findPrice(prices, 'gpt-4o-mini'), false)).toBe('0.000126');
  });

  it('adds the cached parts where the provider counts them beside', () => {
    const tokens = { input: 10, cached_input: 100, cache_creation: 1, output: 2 };
    expect(usd(tokens, findPrice(prices, 'claude'), true)).toBe('0.00009375');
  });

  it('charges a part without a price of its own as its whole', () => {
    const price = findPrice(prices, 'gpt-4o-mini');
    expect(usd({ input: 10, audio_input: 4, output: 0 }, price, false)).toBe(
      usd({ input: 10, output: 0 }, price, false),
    );
    expect(usd({ input: 10, cache_creation: 4 }, price, true)).toBe(usd({ input: 14 }, price, true));
  });

  it('is that of long prompts once the input is longer, for the whole call', () => {
    const price = findPrice(
      readPrices({
        long: {
          input_cost_per_token: 1e-6,
          output_cost_per_token: 1e-5,
          input_cost_per_token_above_200k_tokens: 2e-6,
          output_cost_per_token_above_200k_tokens: 1.5e-5,
          input_cost_per_token_above_1000k_tokens: 4e-6,
          cache_creation_input_token_cost_above_1hr: 1,
        },
      }),
      'long',
    );
    expect(usd({ input: 200_000, output: 1 }, price, false)).toBe('0.20001');
    expect(usd({ input: 200_001, output: 1 }, price, false)).toBe('0.400017');
    expect(usd({ input: 1, cached_input: 200_000, output: 1 }, price, true)).toBe('0.400017');
    expect(usd({ input: 1_000_001, output: 1 }, price, false)).toBe('4.000014');
  });

  it('is unknown for a model without a price, or when a price of what was counted is missing', () => {
    expect(usd({ input: 1 }, findPrice(prices, 'nobody'), false)).toBeNull();
    expect(usd({ input: 1, output: 1 }, findPrice(prices, 'embed'), false)).toBeNull();
    expect(usd({ input: 1 }, findPrice(prices, 'embed'), false)).toBe('0.00000002');
  });

  it('finds a model with and without its provider, the first name that has a price', () => {
    expect(findPrice(prices, undefined, 'openai/gpt-4o-mini')).toBe(findPrice(prices, 'gpt-4o-mini'));
    expect(findPrice(prices, 'mine', 'claude')).toBe(findPrice(prices, 'claude'));
  });

  it('is never negative, and the sum over single tokens for any counts', () => {
    const price = findPrice(prices, 'claude');
    const counts = fc.record({
      input: fc.nat(1e6),
      output: fc.nat(1e6),
      cached_input: fc.nat(2e6),
      cache_creation: fc.nat(2e6),
    });
    fc.assert(
      fc.property(counts, (tokens) => {
        const beside = costOf(tokens, price, true)!;
        const within = costOf(tokens, price, false)!;
        expect(within >= 0n && within <= beside).toBe(true);
        const { input, output, cached_input, cache_creation } = tokens;
        const exact = BigInt(input) * 3_000_000n + BigInt(output) * 15_000_000n;
        expect(formatUsd(beside)).toBe(
          formatUsd(exact + BigInt(cached_input) * 300_000n + BigInt(cache_creation) * 3_750_000n),
        );
      }),
    );
  });
});

describe('a price table', () => {
  it.each([
    [{ m: { input_cost_per_token: -1 } }, 'input_cost_per_token of m'],
    [{ m: { input_cost_per_token: 'free' } }, 'input_cost_per_token of m'],
    [{ m: 3 }, 'm must be an object'],
    [[], 'an object of models'],
  ])('%j is refused with what is wrong', (table, sentence) => {
    expect(() => readPrices(table)).toThrow(sentence);
  });

  it('overrides a model of an earlier one', () => {
    const both = readPrices({ m: { input_cost_per_token: 1 } }, { m: { output_cost_per_token: 2 } });
    expect(both.get('m')).toEqual({ output: 2_000_000_000_000n });
  });
});
