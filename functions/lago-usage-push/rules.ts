import { createHash } from 'node:crypto';
import type { BillingRules } from './billing/decide.ts';
import type { EventRules } from './billing/events.ts';
import { requireSense, type Settings } from './config.ts';
import { parseMapping } from './tables.ts';

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
