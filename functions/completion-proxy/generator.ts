import * as z from 'zod';
import { createHttpClient } from '#shared/clients/http.ts';
import { UpstreamError } from '#shared/errors.ts';
import { toOllamaBase, toOpenAiBase } from './backend.ts';
import type { Settings } from './config.ts';

export interface Generator {
  /** Throws UpstreamError, whose detail never holds the prompt. */
  generate(prompt: string, call: { signal: AbortSignal; callId: string }): Promise<string>;
}

const ollamaAnswer = z.object({ response: z.string() }).transform(({ response }) => response);
const openAiAnswer = z
  .object({ choices: z.tuple([z.object({ message: z.object({ content: z.string() }) })], z.unknown()) })
  .transform(({ choices }) => choices[0].message.content);

interface Dialect {
  service: string;
  baseUrl: string;
  path: string;
  headers?: () => Record<string, string>;
  toBody(prompt: string): unknown;
  answer: z.ZodType<string>;
}

function createGenerator({ service, baseUrl, path, headers, toBody, answer }: Dialect, timeoutMs: number): Generator {
  const client = createHttpClient({ service, baseUrl, timeoutMs, ...(headers === undefined ? {} : { headers }) });
  return {
    async generate(prompt, { signal, callId }) {
      try {
        const json = toBody(prompt);
        const { body } = await client.requestJson({
          method: 'POST',
          path,
          json,
          signal,
          headers: { 'X-Request-ID': callId },
        });
        const parsed = answer.safeParse(body);
        if (parsed.success) return parsed.data;
        throw new UpstreamError(service, 'invalid_response', 'no completion in the answer');
      } catch (error) {
        if (!(error instanceof UpstreamError) || error.failure === 'network') throw error;
        // A server's message may quote the prompt, and details are logged.
        throw new UpstreamError(service, error.failure, 'no usable answer', { status: error.status });
      }
    },
  };
}

/** Who answers `POST /completion`: Ollama, else OpenAI when there is a key, else nobody. Read for each call. */
export function createGeneratorChoice(settings: Settings): () => Generator | undefined {
  const { OLLAMA_URL, OLLAMA_MODEL, OPENAI_BASE_URL, OPENAI_MODEL, COMPLETION_TIMEOUT_MS } = settings;
  const key = settings['openai-api-key'];
  if (OLLAMA_URL !== undefined) {
    const ollama = createGenerator(
      {
        service: 'Ollama',
        baseUrl: toOllamaBase(OLLAMA_URL),
        path: '/api/generate',
        toBody: (prompt) => ({ model: OLLAMA_MODEL, stream: false, prompt }),
        answer: ollamaAnswer,
      },
      COMPLETION_TIMEOUT_MS,
    );
    return () => ollama;
  }
  const openAi = createGenerator(
    {
      service: 'OpenAI',
      baseUrl: toOpenAiBase(OPENAI_BASE_URL),
      path: '/v1/chat/completions',
      headers: () => ({ Authorization: `Bearer ${key.read() ?? ''}` }),
      toBody: (prompt) => ({ model: OPENAI_MODEL, messages: [{ role: 'user', content: prompt }] }),
      answer: openAiAnswer,
    },
    COMPLETION_TIMEOUT_MS,
  );
  return () => (key.read() === undefined ? undefined : openAi);
}
