import * as z from 'zod';
import { authSettings, logSettings, storeSettings } from '#shared/config/common.ts';
import { httpUrl, integer, requiredSecret } from '#shared/config/settings.ts';
import { chargeByNames } from './event.ts';

/** A date (its first moment in UTC) or a moment with its zone, as ms since 1970. */
const moment = z.string().transform((text, context) => {
  const isMoment = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2}))?$/.test(text);
  const value = isMoment ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(value)) return value;
  context.addIssue('must be a date such as 2026-11-01, or a moment such as 2026-11-01T00:00:00Z');
  return z.NEVER;
});

export const settings = z.object({
  ...authSettings,
  ...logSettings,
  ...storeSettings,
  LITELLM_API_BASE_URL: httpUrl(),
  'litellm-api-key': requiredSecret(),
  LITELLM_TIMEOUT_MS: integer({ fallback: 30_000, min: 1 }),
  LAGO_API_BASE: httpUrl(),
  'lago-api-key': requiredSecret(),
  LAGO_TIMEOUT_MS: integer({ fallback: 15_000, min: 1 }),
  LAGO_API_EVENT_CODE: z.string(),
  LAGO_API_CHARGE_BY: z.enum(chargeByNames, `must be one of ${chargeByNames.join(', ')}`).default('end_user_id'),
  BILL_FROM: moment.optional(),
  OVERLAP_MINUTES: integer({ fallback: 60, max: 7 * 24 * 60 }),
  SAFETY_LAG_SECONDS: integer({ fallback: 120, max: 24 * 60 * 60 }),
});
