import { expect, test } from 'vitest';
import { loadSettings } from '#shared/config/settings.ts';
import { settings as schema } from '../../../functions/lago-usage-push/config.ts';
import { toRules } from '../../../functions/lago-usage-push/rules.ts';

const rulesOf = (env: Record<string, string>) =>
  toRules(
    loadSettings(schema, {
      LITELLM_API_BASE_URL: 'http://litellm:4000',
      LITELLM_API_KEY: 'sk-1',
      LAGO_API_BASE: 'http://lago:3000',
      LAGO_API_KEY: 'lago-1',
      FUNCTION_API_KEY: 'ops:key',
      ...env,
    }),
  );

test.each([
  [{ UNBILLED_TAGS: 'byok' }, /UNBILLED_TAGS: any request can carry a tag/],
  [{ BILLING_CURRENCY: 'EUR' }, /FX_RATES is required/],
  [{ FX_RATES: '{"2026-01-01":"0.9"}' }, /there is no rate/],
  [{ BILLING_CURRENCY: 'EUR', FX_RATES: '{"2026-02-01":"0.9"}', BILL_FROM: '2026-01-01' }, /must begin at BILL_FROM/],
  [{ SOURCES: 'rollup', LAGO_API_CHARGE_BY: 'key', EVENT_MODE: 'tokens' }, /a roll-up knows no tokens/],
  [{ SOURCES: 'rollup' }, /a roll-up knows keys/],
  [{ SOURCES: 'rollup,rows', LAGO_API_CHARGE_BY: 'key' }, /would bill every call twice/],
  [{ SUBSCRIPTION_MAP: '[]' }, /an object of ids to subscriptions/],
  [{ SOURCES: 'rows,kafka' }, /takes a comma list of rows/],
  [{ MARKUP: 'double' }, /a plain decimal/],
  [{ SOURCES: 'rollup,webhook', LAGO_API_CHARGE_BY: 'key' }, /would bill every call twice/],
])('refuses to start with %j, and says why', (env, problem) => {
  expect(() => rulesOf(env)).toThrow(problem);
});

test('counts a tag where requests are trusted, and a key without it', () => {
  const { billing } = rulesOf({ UNBILLED_TAGS: 'byok', UNBILLED_KEYS: 'a,b', TRUST_REQUEST_USER: 'true' });
  expect([billing.unbilledTags, billing.unbilledKeys]).toEqual([['byok'], ['a', 'b']]);
  expect(rulesOf({ UNBILLED_KEYS: 'a' }).billing.unbilledKeys).toEqual(['a']);
});
