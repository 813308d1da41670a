import * as z from 'zod/mini';
import { authSettings, logSettings, storeSettings } from '#shared/config/common.ts';
import {
  flag,
  httpUrl,
  integer,
  oneOf,
  optionalSecret,
  refuse,
  requiredSecret,
  setting,
} from '#shared/config/settings.ts';
import { ConfigError } from '#shared/errors.ts';
import { parseBudgets } from './budgets/budget.ts';
import { alertFormats } from './budgets/payload.ts';
import { isDay } from './days.ts';
import { namedColumns } from './names.ts';

function parseEpoch(text: string | undefined) {
  // Spend logs came to LiteLLM in January 2024.
  if (text === undefined) return '2023-12-01';
  return isDay(text) && text >= '2020-01-01' ? text : refuse('must be a day since 2020, as YYYY-MM-DD');
}

function parseUtcOffset(text = 'Z'): number {
  const [, sign, hours, minutes] = /^([+-])(\d{2}):(\d{2})$/.exec(text === 'Z' ? '+00:00' : text) ?? [];
  const total = Number(hours) * 60 + Number(minutes);
  if (total <= 14 * 60 && Number(minutes) < 60) return sign === '-' ? -total : total;
  return refuse('must be an offset from UTC such as +02:00');
}

function parseNames(text = '{}') {
  const names = z.partialRecord(z.enum(namedColumns), z.record(z.string(), z.string()));
  try {
    return z.parse(names, JSON.parse(text));
  } catch {
    return refuse(`must be JSON such as {"team": {"<id>": "<name>"}}, with any of ${namedColumns.join(', ')}`);
  }
}

function readBudgets(text = '[]') {
  const parsed = parseBudgets(text);
  if ('budgets' in parsed) return parsed.budgets;
  throw new ConfigError(parsed.problems);
}

function checkWebhook(url: string) {
  if (['http:', 'https:'].includes(URL.parse(url)?.protocol ?? '')) return;
  refuse('must be a URL that starts with http:// or https://');
}

export const settings = z.object({
  LITELLM_API_BASE_URL: httpUrl(),
  'litellm-api-key': requiredSecret(),
  LITELLM_TIMEOUT_MS: integer({ fallback: 20_000, min: 100, max: 600_000 }),
  SPEND_DEADLINE_MS: integer({ fallback: 25_000, min: 1_000, max: 3_600_000 }),
  LITELLM_EPOCH: setting(parseEpoch),
  // Before 1.60 LiteLLM stored its host's time as if it were UTC.
  LITELLM_UTC_OFFSET: setting(parseUtcOffset),
  ALLOW_FULL_SCAN: flag(false),
  SPEND_NAMES: setting(parseNames),
  SPEND_BUDGETS: setting(readBudgets),
  // A secret: whoever knows the URL of a Slack or Discord webhook may write there.
  'spend-alert-webhook-url': optionalSecret(checkWebhook),
  'spend-alert-secret': optionalSecret(),
  SPEND_ALERT_FORMAT: oneOf(alertFormats, 'generic'),
  SPEND_METRICS_SERIES: integer({ fallback: 50, min: 1, max: 5_000 }),
  ...storeSettings,
  ...authSettings,
  ...logSettings,
});
