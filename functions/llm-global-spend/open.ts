import type * as z from 'zod';
import { createLitellmClient } from '#shared/clients/litellm.ts';
import type { settings as schema } from './config.ts';
import type { LlmGlobalSpendOptions } from './handler.ts';
import { createReports } from './report/reports.ts';

/** Builds the function from its settings. */
export function openSpend(settings: z.infer<typeof schema>): LlmGlobalSpendOptions {
  const { LITELLM_API_BASE_URL: baseUrl, LITELLM_TIMEOUT_MS: timeoutMs, LITELLM_EPOCH: epoch } = settings;
  const apiKey = () => settings['litellm-api-key'].read();
  const litellm = createLitellmClient({ baseUrl, apiKey, timeoutMs, attempts: 2 });
  const now = () => new Date();
  return { reports: createReports({ litellm, epoch, now }), now, deadlineMs: settings.SPEND_DEADLINE_MS };
}
