import * as z from 'zod';
import { authSettings, logSettings } from '#shared/config/common.ts';
import { flag, httpUrl, integer, optionalSecret } from '#shared/config/settings.ts';

const text = (fallback: string) => z.string().default(fallback);

export const settings = z.object({
  ...authSettings,
  ...logSettings,
  BACKEND_URL: httpUrl().optional(),
  OLLAMA_URL: httpUrl().optional(),
  OLLAMA_MODEL: text('llama2'),
  'openai-api-key': optionalSecret(),
  OPENAI_BASE_URL: httpUrl().default('https://api.openai.com'),
  OPENAI_MODEL: text('gpt-4o-mini'),
  COMPLETION_FALLBACK: flag(true),
  COMPLETION_TIMEOUT_MS: integer({ fallback: 1_200_000, min: 1, max: 86_400_000 }),
  BACKEND_CONNECT_TIMEOUT_MS: integer({ fallback: 10_000, max: 86_400_000 }),
  BACKEND_FIRST_BYTE_TIMEOUT_MS: integer({ fallback: 1_200_000, max: 86_400_000 }),
  BACKEND_IDLE_TIMEOUT_MS: integer({ fallback: 600_000, max: 86_400_000 }),
  LOGS_LINES: integer({ fallback: 1_000, max: 100_000 }),
  HISTORY_LINES: integer({ fallback: 1_000, max: 100_000 }),
});

export type Settings = z.infer<typeof settings>;
