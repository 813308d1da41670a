import * as z from 'zod/mini';
import { HttpError } from '#shared/errors.ts';
import { readJson } from '#shared/http/body.ts';
import type { FunctionEvent } from '#shared/http/function.ts';

const whole = (min: number, max: number) => z.optional(z.int().check(z.minimum(min), z.maximum(max)));

const request = z.object({
  prompt: z.string().check(z.refine((prompt) => prompt.trim() !== '')),
  model: z.optional(z.string().check(z.minLength(1), z.maxLength(512))),
  /** Ollama's own options go to Ollama as they are; these five are known to every kind. */
  options: z.optional(
    z.looseObject({
      temperature: z.optional(z.number()),
      top_p: z.optional(z.number()),
      seed: z.optional(z.int()),
      max_tokens: whole(1, Number.MAX_SAFE_INTEGER),
      stop: z.optional(z.union([z.string(), z.array(z.string())])),
    }),
  ),
  stream: z.optional(z.boolean()),
  deadline_ms: whole(1, 86_400_000),
  fallback: z.optional(z.boolean()),
});

export type PromptRequest = z.infer<typeof request>;
export type PromptOptions = NonNullable<PromptRequest['options']>;

const malformed = () => new HttpError(400, 'Malformed or missing prompt argument', { code: 'malformed_prompt' });

/** The body of `POST /completion`. Throws HttpError 400 `malformed_prompt` and `bad_request`, 413 `body_too_large`. */
export async function readPrompt(event: FunctionEvent): Promise<PromptRequest> {
  const body = await readJson(event).catch((error: unknown) => {
    throw error instanceof HttpError && error.status === 400 ? malformed() : error;
  });
  const parsed = z.safeParse(request, body);
  if (parsed.success) return parsed.data;
  const names = parsed.error.issues.map(({ path }) => path.join('.'));
  if (names.some((name) => name === '' || name === 'prompt')) throw malformed();
  throw new HttpError(400, `Not understood: ${[...new Set(names)].join(', ')}`, { code: 'bad_request' });
}
