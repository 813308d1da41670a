import type { UsageRecord } from '#shared/usage.ts';
import type { Dialect } from '../routing/llm-route.ts';

export type Tokens = UsageRecord['tokens'];

type Json = Record<string, unknown>;

const object = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});
const count = (value: unknown) =>
  Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;

/** Only what was counted: absent is not 0. */
function present(tokens: { [Type in keyof Tokens]: number | undefined }): Tokens | undefined {
  let counted: Tokens | undefined;
  for (const type in tokens) {
    const value = tokens[type as keyof Tokens];
    if (value === undefined) continue;
    counted ??= {};
    counted[type as keyof Tokens] = value;
  }
  return counted;
}

/**
 * Gemini's and xAI's speakers of this form count what a model thought in the total alone: it is output, and charged so.
 */
function wholeOutput(input: number | undefined, output: number | undefined, total: number | undefined) {
  if (input === undefined || output === undefined || total === undefined) return output;
  return Math.max(output, total - input);
}

/** `usage` of chat completions, completions and embeddings, and with other names of responses and images. */
function fromOpenAi(usage: Json): Tokens | undefined {
  // Transcriptions have it in the singular.
  const input = object(usage.prompt_tokens_details ?? usage.input_tokens_details ?? usage.input_token_details);
  const output = object(usage.completion_tokens_details ?? usage.output_tokens_details);
  const [asked, told] = [
    count(usage.prompt_tokens) ?? count(usage.input_tokens),
    count(usage.completion_tokens) ?? count(usage.output_tokens),
  ];
  return present({
    input: asked,
    output: wholeOutput(asked, told, count(usage.total_tokens)),
    cached_input: count(input.cached_tokens),
    cache_creation: count(input.cache_write_tokens),
    reasoning: count(output.reasoning_tokens),
    audio_input: count(input.audio_tokens),
    audio_output: count(output.audio_tokens),
    image_input: count(input.image_tokens),
  });
}

/** `usage` of messages: what was read from the cache or written to it is counted beside `input_tokens`, not within. */
const fromAnthropic = (usage: Json) =>
  present({
    input: count(usage.input_tokens),
    output: count(usage.output_tokens),
    cached_input: count(usage.cache_read_input_tokens),
    cache_creation: count(usage.cache_creation_input_tokens),
  });

/** The counters of Ollama's last object; Go leaves out those that are 0, so a missing one beside another is 0. */
function fromOllama(last: Json): Tokens | undefined {
  const [input, output] = [count(last.prompt_eval_count), count(last.eval_count)];
  if (input === undefined && output === undefined) return undefined;
  return present({ input: input ?? 0, output: output ?? 0, cached_input: count(last.prompt_eval_cached_count) });
}

/**
 * What a backend counted, in the types of `UsageRecord` and as it counts them: for Anthropic the parts stand beside the
 * input, for everyone else within it. `value` is the `usage` object, for Ollama the object that carries the counters.
 */
export function toTokens(dialect: Dialect, value: unknown): Tokens | undefined {
  const usage = object(value);
  if (dialect === 'ollama') return fromOllama(usage);
  return dialect === 'anthropic' ? fromAnthropic(usage) : fromOpenAi(usage);
}

/**
 * The later count over the earlier, type by type: Anthropic tells the input at the beginning of a stream and the output
 * at its end. Counts only grow, so that a later 0 says nothing (Ollama's /v1 sends zeros with every chunk of a stream, and
 * some speakers of Anthropic's form tell an input of 0 at the end).
 */
export function laterTokens(earlier: Tokens | undefined, later: Tokens | undefined): Tokens | undefined {
  if (later === undefined || earlier === undefined) return later ?? earlier;
  const merged = { ...earlier };
  for (const name in later) {
    const type = name as keyof Tokens;
    const value = later[type];
    if (value !== 0 || merged[type] === undefined) merged[type] = value;
  }
  return merged;
}
