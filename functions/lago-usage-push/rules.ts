import { createHash } from 'node:crypto';
import { ConfigError } from '#shared/errors.ts';
import type { BillingRules } from './billing/decide.ts';
import type { EventRules } from './billing/events.ts';
import type { Settings } from './config.ts';
import { parseMapping } from './tables.ts';

/** What settings say together that none says alone. Throws ConfigError. */
function requireSense(settings: Settings) {
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

/** The mapping of the secret `subscription-map`, read anew when it changed; a broken new one leaves the old in place. */
function createMapping(secret: Settings['subscription-map']): () => ReadonlyMap<string, string> | undefined {
  let text: string | undefined;
  let map: ReadonlyMap<string, string> | undefined;
  return () => {
    const current = secret?.read();
    if (current === text) return map;
    text = current;
    try {
      map = current === undefined ? undefined : parseMapping(current);
    } catch {
      // A start refuses it; a running function must not bill by half a table, and keeps what it had.
    }
    return map;
  };
}

/** The settings as rules of billing. Throws ConfigError. */
export function toRules(settings: Settings): { billing: BillingRules; events: EventRules; digest: () => string } {
  requireSense(settings);
  const mapping = createMapping(settings['subscription-map']);
  const billing: BillingRules = {
    chargeBy: settings.LAGO_API_CHARGE_BY,
    trustRequestUser: settings.TRUST_REQUEST_USER,
    mapping,
    defaultSubscription: settings.DEFAULT_SUBSCRIPTION,
    mode: settings.EVENT_MODE,
    billFrom: settings.BILL_FROM ?? Number.NEGATIVE_INFINITY,
    unbilledTags: settings.UNBILLED_TAGS,
    unbilledKeys: settings.UNBILLED_KEYS,
    sendZeroCost: settings.ZERO_COST === 'send',
    period: settings.BILLING_PERIOD,
  };
  const events: EventRules = {
    mode: settings.EVENT_MODE,
    code: settings.LAGO_API_EVENT_CODE,
    markupText: settings.MARKUP.text,
    money: { currency: settings.BILLING_CURRENCY, rates: settings.FX_RATES, markup: settings.MARKUP.decimal },
  };
  return {
    billing,
    events,
    digest() {
      const parts = [
        settings.LAGO_API_CHARGE_BY.text,
        billing.trustRequestUser,
        [...(mapping() ?? [])],
        billing.defaultSubscription ?? null,
        settings.LATE_USAGE,
        billing.period,
        settings.FX_RATES.map(({ from, text }) => [from, text]),
      ];
      return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
    },
  };
}
