import type { BackendKind } from '../backends/backend.ts';
import type { PromptOptions, PromptRequest } from './prompt.ts';

/** A kind of backend that answers prompts. */
export type CompletionKind = Exclude<BackendKind, 'plain'>;

interface CompletionDialect {
  path: string;
  headers: Record<string, string>;
  toBody(prompt: PromptRequest, model: string, stream: boolean): unknown;
  /** The text in a whole answer, or in one event or line of a stream; undefined where there is none. */
  readText(answer: unknown): string | undefined;
  /** The message of an error told inside a stream. */
  readError(answer: unknown): string | undefined;
}

const at = (value: unknown, ...path: (string | number)[]): unknown => {
  let found = value;
  for (const key of path) found = (found as Record<string | number, unknown> | null | undefined)?.[key];
  return found;
};
const textAt = (value: unknown, ...path: (string | number)[]) => {
  const found = at(value, ...path);
  return typeof found === 'string' ? found : undefined;
};
const errorOf = (answer: unknown) => textAt(answer, 'error', 'message') ?? textAt(answer, 'error');

/** Ollama's word for the number of tokens is `num_predict`. */
const toOllamaOptions = ({ max_tokens, ...rest }: PromptOptions) =>
  max_tokens === undefined ? rest : { num_predict: max_tokens, ...rest };

const known = ({ temperature, top_p, seed, max_tokens, stop }: PromptOptions) => ({
  temperature,
  top_p,
  seed,
  max_tokens,
  stop,
});

const openai: CompletionDialect = {
  path: '/v1/chat/completions',
  headers: {},
  toBody: ({ prompt, options = {} }, model, stream) => ({
    model,
    messages: [{ role: 'user', content: prompt }],
    ...(stream ? { stream } : {}),
    ...known(options),
  }),
  readText: (answer) =>
    textAt(answer, 'choices', 0, 'message', 'content') ?? textAt(answer, 'choices', 0, 'delta', 'content'),
  readError: errorOf,
};

/** How each kind is asked for a completion, and where the text stands in its answer. */
export const completionDialects: Record<CompletionKind, CompletionDialect> = {
  openai,
  // What rented machines serve, be it vLLM, Ollama, TGI or llama.cpp, speaks it.
  vast: openai,
  ollama: {
    path: '/api/generate',
    headers: {},
    toBody: ({ prompt, options }, model, stream) => ({
      model,
      stream,
      prompt,
      ...(options === undefined ? {} : { options: toOllamaOptions(options) }),
    }),
    readText: (answer) => textAt(answer, 'response'),
    readError: errorOf,
  },
  anthropic: {
    path: '/v1/messages',
    headers: { 'anthropic-version': '2023-06-01' },
    toBody({ prompt, options = {} }, model, stream) {
      const { temperature, top_p, max_tokens = 1_024, stop } = options;
      return {
        model,
        max_tokens,
        messages: [{ role: 'user', content: prompt }],
        ...(stream ? { stream } : {}),
        temperature,
        top_p,
        stop_sequences: typeof stop === 'string' ? [stop] : stop,
      };
    },
    readText(answer) {
      const parts = at(answer, 'content');
      if (!Array.isArray(parts)) return textAt(answer, 'delta', 'text');
      return parts.map((part) => textAt(part, 'text') ?? '').join('');
    },
    readError: errorOf,
  },
};
