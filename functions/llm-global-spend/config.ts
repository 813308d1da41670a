import * as z from 'zod';
import { authSettings, logSettings } from '#shared/config/common.ts';
import { httpUrl, integer, requiredSecret } from '#shared/config/settings.ts';
import { isDay } from './days.ts';

export const settings = z.object({
  LITELLM_API_BASE_URL: httpUrl(),
  'litellm-api-key': requiredSecret(),
  LITELLM_TIMEOUT_MS: integer({ fallback: 20_000, min: 100, max: 600_000 }),
  SPEND_DEADLINE_MS: integer({ fallback: 25_000, min: 1_000, max: 3_600_000 }),
  // Spend logs came to LiteLLM in January 2024.
  LITELLM_EPOCH: z
    .string()
    .optional()
    .transform((text, context) => {
      if (text === undefined) return '2023-12-01';
      if (isDay(text) && text >= '2020-01-01') return text;
      context.addIssue('must be a day since 2020, as YYYY-MM-DD');
      return z.NEVER;
    }),
  ...authSettings,
  ...logSettings,
});
