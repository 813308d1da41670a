import * as z from 'zod';
import { HttpError } from '#shared/errors.ts';
import { readJson } from '#shared/http/body.ts';
import type { FunctionEvent } from '#shared/http/function.ts';

const options = z.object({
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  seed: z.number().int().optional(),
  max_tokens: z.number().int().positive().optional(),
  stop: z.union([z.string(), z.array(z.string())]).optional(),
});

const request = z.object({
  prompt: z.string().refine((prompt) => prompt.trim() !== ''),
  model: z.string().min(1).max(512).optional(),
  /** Ollama's own options go to Ollama as they are; these five are known to every kind. */
  options: options.loose().optional(),
  stream: z.boolean().optional(),
  deadline_ms: z.number().int().min(1).max(86_400_000).optional(),
  fallback: z.boolean().optional(),
});

export type PromptRequest = z.infer<typeof request>;
export type PromptOptions = NonNullable<PromptRequest['options']>;

const malformed = () => new HttpError(400, 'Malformed or missing prompt argument', { code: 'malformed_prompt' });

/** The body of `POST /completion`. Throws HttpError 400 `malformed_prompt` and `bad_request`, 413 `body_too_large`. */
export async function readPrompt(event: FunctionEvent): Promise<PromptRequest> {
  const body = await readJson(event).catch((error: unknown) => {
    throw error instanceof HttpError && error.status === 400 ? malformed() : error;
  });
  const parsed = request.safeParse(body);
  if (parsed.success) return parsed.data;
  const names = parsed.error.issues.map(({ path }) => path.join('.'));
  if (names.some((name) => name === '' || name === 'prompt')) throw malformed();
  throw new HttpError(400, `Not understood: ${[...new Set(names)].join(', ')}`, { code: 'bad_request' });
}
