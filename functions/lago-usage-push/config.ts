import * as z from 'zod/mini';
import { authSettings, logSettings, storeSettings } from '#shared/config/common.ts';
import {
  flag,
  httpUrl,
  integer,
  list,
  matching,
  oneOf,
  optional,
  optionalSecret,
  optionalText,
  refuse,
  requiredSecret,
  setting,
  text,
  toList,
} from '#shared/config/settings.ts';
import { ConfigError } from '#shared/errors.ts';
import { eventModes } from './billing/events.ts';
import { parseDecimal } from './billing/money.ts';
import { parseChargeBy } from './billing/payer.ts';
import { billingPeriods } from './billing/period.ts';
import { lateRules } from './delivery/late.ts';
import { parseMapping, parseRates } from './tables.ts';

/** A date (its first moment in UTC) or a moment with its zone, as ms since 1970. */
function parseMoment(given: string): number {
  const isMoment = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2}))?$/.test(given);
  const value = isMoment ? Date.parse(given) : Number.NaN;
  if (!Number.isNaN(value)) return value;
  return refuse('must be a date such as 2026-11-01, or a moment such as 2026-11-01T00:00:00Z');
}

export const sourceNames = ['rows', 'rollup', 'webhook', 'usage'] as const;
export type SourceName = (typeof sourceNames)[number];

function parseSources(given = 'rows, webhook, usage'): Set<SourceName> {
  const names = toList(given);
  const unknown = names.filter((name) => !(sourceNames as readonly string[]).includes(name));
  const isDouble = names.includes('rollup') && (names.includes('rows') || names.includes('webhook'));
  if (isDouble) return refuse('rollup shares no id with rows and webhook: together they would bill every call twice');
  if (unknown.length > 0 || names.length === 0) return refuse(`takes a comma list of ${sourceNames.join(', ')}`);
  return new Set(names as SourceName[]);
}

function parseCharge(given = 'end_user_id') {
  const parsed = parseChargeBy(given);
  if (parsed !== undefined) return { text: given, ...parsed };
  return refuse(
    'takes end_user, user, team, key, organization (or end_user_id, user_id, team_id), tag:<name> or metadata:<field>',
  );
}

function parseMarkup(given = '1') {
  const decimal = parseDecimal(given);
  return decimal === undefined ? refuse('must be a plain decimal such as 1.2') : { text: given, decimal };
}

/** What a parser of a table says is wrong is a problem of the setting. */
const tabled =
  <Table>(parse: (given: string) => Table) =>
  (given: string): Table => {
    try {
      return parse(given);
    } catch (error) {
      return refuse((error as Error).message);
    }
  };

const parseCurrency = matching(/^[A-Z]{3}$/, 'must be three capitals such as EUR');

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
  SOURCES: setting(parseSources),
  EVENT_MODE: oneOf(eventModes, 'cost'),
  LAGO_API_EVENT_CODE: text('llm_cost'),
  LAGO_API_CHARGE_BY: setting(parseCharge),
  TRUST_REQUEST_USER: flag(false),
  'subscription-map': optionalSecret(tabled(parseMapping)),
  DEFAULT_SUBSCRIPTION: optionalText(),
  PREFLIGHT: oneOf(['hold', 'off'], 'hold'),
  BILL_FROM: optional(parseMoment),
  LATE_USAGE: oneOf(lateRules, 'hold'),
  BILLING_PERIOD: oneOf(billingPeriods, 'month'),
  BILLING_CURRENCY: setting((given = 'USD') => parseCurrency(given)),
  FX_RATES: setting((given) => (given === undefined ? [] : tabled(parseRates)(given))),
  MARKUP: setting(parseMarkup),
  UNBILLED_TAGS: list(),
  UNBILLED_KEYS: list(),
  ZERO_COST: oneOf(['send', 'skip'], 'send'),
  OVERLAP_MINUTES: integer({ fallback: 60, max: 7 * 24 * 60 }),
  SAFETY_LAG_SECONDS: integer({ fallback: 120, max: 24 * 60 * 60 }),
  ROLLUP_DELAY_MINUTES: integer({ fallback: 180, max: 24 * 60 }),
  RUN_SECONDS: integer({ fallback: 45, min: 1, max: 3_600 }),
  MAX_WEBHOOK_BYTES: integer({ fallback: 33_554_432, min: 1_024 }),
});

export type Settings = z.infer<typeof settings>;

/** What settings say together that none says alone. Throws ConfigError. */
export function requireSense(settings: Settings) {
  const { BILLING_CURRENCY: currency, FX_RATES: rates, BILL_FROM: billFrom, SOURCES: sources } = settings;
  const problems: string[] = [];
  if (currency !== 'USD' && rates.length === 0) {
    problems.push('FX_RATES is required: costs are in US dollars, and Lago converts nothing');
  }
  if (currency === 'USD' && rates.length > 0) problems.push('FX_RATES: BILLING_CURRENCY is USD, so there is no rate');
  const [first] = rates;
  if (first !== undefined && billFrom !== undefined && first.from > billFrom) {
    problems.push('FX_RATES must begin at BILL_FROM or before');
  }
  if (sources.has('rollup') && settings.EVENT_MODE === 'tokens') {
    problems.push('EVENT_MODE: a roll-up knows no tokens, take cost or litellm');
  }
  if (settings.UNBILLED_TAGS.length > 0 && !settings.TRUST_REQUEST_USER) {
    problems.push('UNBILLED_TAGS: any request can carry a tag: take UNBILLED_KEYS, or set TRUST_REQUEST_USER=true');
  }
  const { by } = settings.LAGO_API_CHARGE_BY;
  if (sources.has('rollup') && ['end_user', 'tag', 'metadata', 'organization'].includes(by)) {
    problems.push('LAGO_API_CHARGE_BY: a roll-up knows keys, their users and teams only');
  }
  if (problems.length > 0) throw new ConfigError(problems);
}
