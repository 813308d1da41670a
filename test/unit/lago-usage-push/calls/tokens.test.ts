import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  readLitellmTokens,
  separateProviderTokens,
  type Tokens,
  tokenTypes,
} from '../../../../functions/lago-usage-push/calls/tokens.ts';

const sum = (tokens: Tokens) => Object.values(tokens).reduce((total, count) => total + count, 0);

describe('tokens of a provider', () => {
  test.each([
    [
      'openai',
      { input: 100, output: 50, cached_input: 30, reasoning: 20 },
      { input: 70, output: 30, cached_input: 30, reasoning: 20 },
    ],
    ['mistral', { input: 100, cached_input: 100 }, { cached_input: 100 }],
    // Anthropic counts its cache beside the input.
    [
      'anthropic',
      { input: 100, output: 50, cached_input: 900, cache_creation: 40 },
      { input: 100, output: 50, cached_input: 900, cache_creation: 40 },
    ],
    // Gemini counts its thoughts beside the output, and its cache within the input.
    [
      'gemini',
      { input: 100, output: 50, cached_input: 60, reasoning: 500 },
      { input: 40, output: 50, cached_input: 60, reasoning: 500 },
    ],
    ['vertex_ai', { output: 5, reasoning: 3 }, { output: 5, reasoning: 3 }],
    [
      'openai',
      { input: 100, audio_input: 10, image_input: 20, output: 9, audio_output: 9 },
      { input: 70, audio_input: 10, image_input: 20, audio_output: 9 },
    ],
    [null, { output: 7, reasoning: 0 }, { output: 7 }],
    // More than the whole cannot lie within it.
    ['openai', { input: 10, cached_input: 11 }, { input: 10, cached_input: 11 }],
  ] as [string | null, Tokens, Tokens][])('of %s: %o are %o', (provider, counted, separate) => {
    expect(separateProviderTokens(counted, provider)).toEqual(separate);
  });

  test('are counted once: parts within a whole never add up to more than it', () => {
    const counted = fc.record({
      input: fc.nat(1000),
      output: fc.nat(1000),
      cached_input: fc.nat(250),
      cache_creation: fc.nat(250),
      audio_input: fc.nat(250),
      image_input: fc.nat(250),
      reasoning: fc.nat(500),
      audio_output: fc.nat(500),
    });
    fc.assert(
      fc.property(counted, (tokens) => {
        const separate = separateProviderTokens(tokens, 'openai');
        for (const type of tokenTypes) {
          const isWhole = type === 'input' || type === 'output';
          if (isWhole) expect(separate[type] ?? 0).toBeLessThanOrEqual(tokens[type]);
          else expect(separate[type] ?? 0).toBe(tokens[type]);
        }
        const fits =
          tokens.cached_input + tokens.cache_creation + tokens.audio_input + tokens.image_input <= tokens.input &&
          tokens.reasoning + tokens.audio_output <= tokens.output;
        if (fits) expect(sum(separate)).toBe(tokens.input + tokens.output);
      }),
    );
  });
});

describe("LiteLLM's usage object", () => {
  const counts = { prompt: 1_000, completion: 200 };

  test("has all of a provider's types within prompt and completion, Anthropic's cache too", () => {
    const usage = {
      prompt_tokens: 1_000,
      completion_tokens: 200,
      prompt_tokens_details: { cached_tokens: 600, audio_tokens: 50 },
      cache_read_input_tokens: 600,
      cache_creation_input_tokens: 100,
      completion_tokens_details: { reasoning_tokens: 150 },
    };
    const tokens = readLitellmTokens(usage, counts);
    expect(tokens).toEqual({
      input: 250,
      output: 50,
      cached_input: 600,
      cache_creation: 100,
      audio_input: 50,
      reasoning: 150,
    });
    expect(sum(tokens)).toBe(1_200);
  });

  test("keeps the cache beside the input in Anthropic's raw form, and within it in OpenAI's responses", () => {
    const raw = { input_tokens: 1_000, cache_read_input_tokens: 600 };
    expect(readLitellmTokens(raw, counts)).toEqual({ input: 1_000, output: 200, cached_input: 600 });
    const responses = { input_tokens: 1_000, input_tokens_details: { cached_tokens: 600 } };
    expect(readLitellmTokens(responses, counts)).toEqual({ input: 400, output: 200, cached_input: 600 });
  });

  test.each([
    undefined,
    null,
    'text',
    [],
    { prompt_tokens_details: 3 },
    { prompt_tokens_details: { cached_tokens: '9' } },
  ])('is worth its two counts where it is %o', (usage) => {
    expect(readLitellmTokens(usage, counts)).toEqual({ input: 1_000, output: 200 });
  });
});
