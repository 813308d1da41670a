/** The types that Lago's own agent SDK bills, in its words without `llm_` and `_tokens`. */
export const tokenTypes = [
  'input',
  'output',
  'cached_input',
  'cache_creation',
  'reasoning',
  'audio_input',
  'audio_output',
  'image_input',
] as const;

export type TokenType = (typeof tokenTypes)[number];
export type Tokens = Partial<Record<TokenType, number>>;

/** The whole that a type is a part of, where it is one. */
const wholes: [part: TokenType, whole: 'input' | 'output'][] = [
  ['cached_input', 'input'],
  ['cache_creation', 'input'],
  ['audio_input', 'input'],
  ['image_input', 'input'],
  ['reasoning', 'output'],
  ['audio_output', 'output'],
];

/** What a provider counts beside the whole and not within it (Lago's billing guide has the same table). */
function additiveTypes(provider: string | null): readonly TokenType[] {
  if (provider === null) return [];
  if (/anthropic|claude/i.test(provider)) return ['cached_input', 'cache_creation'];
  return /gemini|google|vertex/i.test(provider) ? ['reasoning'] : [];
}

/**
 * Counts each token once: a part is taken out of its whole, where the provider counted it within. A part that is larger
 * than what is left of its whole cannot lie within it and stands beside it. Zeros are left out.
 */
export function separateTokens(counted: Tokens, additive: readonly TokenType[]): Tokens {
  const left: Tokens = { ...counted };
  for (const [part, whole] of wholes) {
    const count = counted[part] ?? 0;
    const rest = left[whole];
    if (rest !== undefined && !additive.includes(part) && count <= rest) left[whole] = rest - count;
  }
  return Object.fromEntries(Object.entries(left).filter(([, count]) => count !== undefined && count > 0)) as Tokens;
}

/** Tokens as a provider reports them, each in one type. */
export const separateProviderTokens = (counted: Tokens, provider: string | null) =>
  separateTokens(counted, additiveTypes(provider));

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

function firstCount(...values: unknown[]): number {
  const found = values.find((value): value is number => typeof value === 'number' && value > 0);
  return found === undefined ? 0 : Math.floor(found);
}

/**
 * LiteLLM's `usage_object` beside the two counts of the row: LiteLLM brings every provider into OpenAI's form, where
 * all types are parts of the prompt or the completion. Anthropic's raw form (`input_tokens` without details) keeps its
 * cache beside the input.
 */
export function readLitellmTokens(usage: unknown, counts: { prompt: number; completion: number }): Tokens {
  const found = isObject(usage) ? usage : {};
  const input = [found.prompt_tokens_details, found.input_tokens_details].find(isObject) ?? {};
  const output = [found.completion_tokens_details, found.output_tokens_details].find(isObject) ?? {};
  const isAnthropicRaw = found.prompt_tokens === undefined && found.input_tokens_details === undefined;
  return separateTokens(
    {
      input: counts.prompt,
      output: counts.completion,
      cached_input: firstCount(input.cached_tokens, found.cache_read_input_tokens),
      cache_creation: firstCount(found.cache_creation_input_tokens, input.cache_creation_tokens),
      audio_input: firstCount(input.audio_tokens),
      image_input: firstCount(input.image_tokens),
      reasoning: firstCount(output.reasoning_tokens),
      audio_output: firstCount(output.audio_tokens),
    },
    isAnthropicRaw ? ['cached_input', 'cache_creation'] : [],
  );
}
