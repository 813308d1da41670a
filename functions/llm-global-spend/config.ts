import * as z from 'zod';
import { authSettings, logSettings, storeSettings } from '#shared/config/common.ts';
import { flag, httpUrl, integer, optionalSecret, requiredSecret } from '#shared/config/settings.ts';
import { parseBudgets } from './budgets/budget.ts';
import { alertFormats } from './budgets/payload.ts';
import { isDay } from './days.ts';
import { namedColumns } from './names.ts';

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
  // Before 1.60 LiteLLM stored its host's time as if it were UTC.
  LITELLM_UTC_OFFSET: z
    .string()
    .optional()
    .transform((text = '+00:00', context) => {
      const [, sign, hours, minutes] = /^([+-])(\d{2}):(\d{2})$/.exec(text === 'Z' ? '+00:00' : text) ?? [];
      const total = Number(hours) * 60 + Number(minutes);
      if (total <= 14 * 60 && Number(minutes) < 60) return sign === '-' ? -total : total;
      context.addIssue('must be an offset from UTC such as +02:00');
      return z.NEVER;
    }),
  ALLOW_FULL_SCAN: flag(false),
  SPEND_NAMES: z
    .string()
    .optional()
    .transform((text = '{}', context) => {
      const names = z.partialRecord(z.enum(namedColumns), z.record(z.string(), z.string()));
      try {
        return names.parse(JSON.parse(text));
      } catch {
        context.addIssue(`must be JSON such as {"team": {"<id>": "<name>"}}, with any of ${namedColumns.join(', ')}`);
        return z.NEVER;
      }
    }),
  SPEND_BUDGETS: z
    .string()
    .default('[]')
    .transform((text, context) => {
      const parsed = parseBudgets(text);
      if ('budgets' in parsed) return parsed.budgets;
      for (const problem of parsed.problems) context.addIssue(problem);
      return z.NEVER;
    }),
  // A secret: whoever knows the URL of a Slack or Discord webhook may write there.
  'spend-alert-webhook-url': optionalSecret().superRefine((secret, context) => {
    const url = secret?.read();
    if (url === undefined || ['http:', 'https:'].includes(URL.parse(url)?.protocol ?? '')) return;
    context.addIssue({ code: 'custom', message: 'must be a URL that starts with http:// or https://' });
  }),
  'spend-alert-secret': optionalSecret(),
  SPEND_ALERT_FORMAT: z.enum(alertFormats, `must be one of ${alertFormats.join(', ')}`).default('generic'),
  SPEND_METRICS_SERIES: integer({ fallback: 50, min: 1, max: 5_000 }),
  ...storeSettings,
  ...authSettings,
  ...logSettings,
});
