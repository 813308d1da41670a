import * as z from 'zod';
import { authSettings, logSettings, storeSettings } from '#shared/config/common.ts';
import { flag, httpUrl, integer, list, optionalSecret, requiredSecret } from '#shared/config/settings.ts';
import { eventModes } from './billing/events.ts';
import { parseDecimal } from './billing/money.ts';
import { parseChargeBy } from './billing/payer.ts';
import { billingPeriods } from './billing/period.ts';
import { lateRules } from './delivery/late.ts';
import { parseMapping, parseRates } from './tables.ts';

/** A date (its first moment in UTC) or a moment with its zone, as ms since 1970. */
const moment = z.string().transform((text, context) => {
  const isMoment = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2}))?$/.test(text);
  const value = isMoment ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(value)) return value;
  context.addIssue('must be a date such as 2026-11-01, or a moment such as 2026-11-01T00:00:00Z');
  return z.NEVER;
});

const oneOf = <const Names extends readonly [string, ...string[]]>(names: Names) =>
  z.enum(names, `must be one of ${names.join(', ')}`);

export const sourceNames = ['rows', 'rollup', 'webhook', 'usage'] as const;
export type SourceName = (typeof sourceNames)[number];

const sources = list()
  .optional()
  .transform((names = ['rows', 'webhook', 'usage'], context) => {
    const unknown = names.filter((name) => !(sourceNames as readonly string[]).includes(name));
    const isDouble = names.includes('rollup') && (names.includes('rows') || names.includes('webhook'));
    if (unknown.length === 0 && names.length > 0 && !isDouble) return new Set(names as SourceName[]);
    context.addIssue(
      isDouble
        ? 'rollup shares no id with rows and webhook: together they would bill every call twice'
        : `takes a comma list of ${sourceNames.join(', ')}`,
    );
    return z.NEVER;
  });

const chargeBy = z
  .string()
  .default('end_user_id')
  .transform((text, context) => {
    const parsed = parseChargeBy(text);
    if (parsed !== undefined) return { text, ...parsed };
    context.addIssue(
      'takes end_user, user, team, key, organization (or end_user_id, user_id, team_id), tag:<name> or metadata:<field>',
    );
    return z.NEVER;
  });

const markup = z
  .string()
  .default('1')
  .transform((text, context) => {
    const decimal = parseDecimal(text);
    if (decimal !== undefined) return { text, decimal };
    context.addIssue('must be a plain decimal such as 1.2');
    return z.NEVER;
  });

const rates = z
  .string()
  .optional()
  .transform((text, context) => {
    try {
      return text === undefined ? [] : parseRates(text);
    } catch (error) {
      context.addIssue((error as Error).message);
      return z.NEVER;
    }
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
  SOURCES: sources,
  EVENT_MODE: oneOf(eventModes).default('cost'),
  LAGO_API_EVENT_CODE: z.string().default('llm_cost'),
  LAGO_API_CHARGE_BY: chargeBy,
  TRUST_REQUEST_USER: flag(false),
  'subscription-map': optionalSecret().superRefine((secret, context) => {
    const text = secret?.read();
    if (text === undefined) return;
    try {
      parseMapping(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message });
    }
  }),
  DEFAULT_SUBSCRIPTION: z.string().optional(),
  PREFLIGHT: oneOf(['hold', 'off']).default('hold'),
  BILL_FROM: moment.optional(),
  LATE_USAGE: oneOf(lateRules).default('hold'),
  BILLING_PERIOD: oneOf(billingPeriods).default('month'),
  BILLING_CURRENCY: z
    .string()
    .regex(/^[A-Z]{3}$/, 'must be three capitals such as EUR')
    .default('USD'),
  FX_RATES: rates,
  MARKUP: markup,
  UNBILLED_TAGS: list()
    .optional()
    .transform((tags) => tags ?? []),
  UNBILLED_KEYS: list()
    .optional()
    .transform((keys) => keys ?? []),
  ZERO_COST: oneOf(['send', 'skip']).default('send'),
  OVERLAP_MINUTES: integer({ fallback: 60, max: 7 * 24 * 60 }),
  SAFETY_LAG_SECONDS: integer({ fallback: 120, max: 24 * 60 * 60 }),
  ROLLUP_DELAY_MINUTES: integer({ fallback: 180, max: 24 * 60 }),
  RUN_SECONDS: integer({ fallback: 45, min: 1, max: 3_600 }),
  MAX_WEBHOOK_BYTES: integer({ fallback: 33_554_432, min: 1_024 }),
});

export type Settings = z.infer<typeof settings>;
