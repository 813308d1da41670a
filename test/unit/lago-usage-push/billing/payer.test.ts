import { describe, expect, test } from 'vitest';
import { parseUsd } from '#shared/money.ts';
import type { UsageRecord } from '#shared/usage.ts';
import { type BillingRules, decide } from '../../../../functions/lago-usage-push/billing/decide.ts';
import { findPayer, parseChargeBy } from '../../../../functions/lago-usage-push/billing/payer.ts';
import { type Call, toFields } from '../../../../functions/lago-usage-push/calls/call.ts';
import { fromRecord } from '../../../../functions/lago-usage-push/calls/from-record.ts';

const call: Call = {
  id: 'litellm-0-a',
  requestId: 'a',
  source: 'rows',
  startedAt: Date.parse('2026-11-20T10:00:00Z'),
  model: 'gpt-4o',
  provider: 'openai',
  spend: parseUsd('0.1'),
  prompt: 10,
  completion: 5,
  total: 15,
  tokens: { input: 10, output: 5 },
  endUser: 'acme',
  user: 'alice',
  team: 'platform',
  organization: 'org-1',
  keyAlias: 'chatbot',
  keyHash: '88dc',
  tags: ['prod', 'customer:globex', 'User-Agent: x'],
  fields: { customer_id: 'initech' },
  isFailure: false,
  isCacheHit: false,
  isBilledElsewhere: false,
  isEstimated: false,
};

const record: UsageRecord = {
  id: 'r1',
  upstream_id: null,
  litellm_call_id: null,
  billed_by: null,
  started_at: '2026-11-20T10:00:00.000Z',
  ended_at: '2026-11-20T10:00:01.000Z',
  caller: 'n8n',
  end_user: 'acme',
  model: 'llama3',
  requested_model: 'llama3',
  backend: 'ollama',
  provider: 'ollama',
  status: 200,
  outcome: 'ok',
  tokens: { input: 3, output: 4 },
  usage_source: 'upstream',
  cost_usd: '0.01',
};

const rulesFor = (text: string, changes: Partial<BillingRules> = {}): BillingRules => ({
  chargeBy: parseChargeBy(text)!,
  trustRequestUser: true,
  mapping: () => undefined,
  defaultSubscription: undefined,
  mode: 'cost',
  billFrom: 0,
  unbilledTags: [],
  unbilledKeys: [],
  sendZeroCost: true,
  period: 'month',
  ...changes,
});

describe('who pays', () => {
  test.each([
    ['end_user_id', 'acme'],
    ['end_user', 'acme'],
    ['user_id', 'alice'],
    ['user', 'alice'],
    ['team_id', 'platform'],
    ['team', 'platform'],
    ['organization', 'org-1'],
    ['key', 'chatbot'],
    ['tag:customer', 'globex'],
    ['metadata:customer_id', 'initech'],
  ])('by %s is %s', (text, subscription) => {
    expect(findPayer(call, rulesFor(text))).toEqual({ subscription });
  });

  test.each(['end_user', 'tag:customer', 'metadata:customer_id', 'metadata:user_api_key_end_user_id'])(
    'by %s is nobody while requests are not trusted, as any of them may say so',
    (text) => {
      const named = { ...call, fields: { ...call.fields, user_api_key_end_user_id: 'acme' } };
      const payer = findPayer(named, rulesFor(text, { trustRequestUser: false }));
      expect(payer).toEqual({ unmapped: 'untrusted_payer', id: expect.any(String) });
    },
  );

  test("by a field that tells of the key is LiteLLM's word, which no request can change", () => {
    const fields = toFields({
      user_api_key_team_alias: 'platform',
      spend_logs_metadata: { user_api_key_team_alias: 'victim', customer_id: 'initech' },
    });
    expect(fields).toEqual({ user_api_key_team_alias: 'platform', customer_id: 'initech' });
    const rules = rulesFor('metadata:user_api_key_team_alias', { trustRequestUser: false });
    expect(findPayer({ ...call, fields }, rules)).toEqual({ subscription: 'platform' });
    expect(findPayer(fromRecord(record), { ...rules, chargeBy: parseChargeBy('metadata:caller')! })).toEqual({
      subscription: 'n8n',
    });
  });

  test('is nobody for a key whose calls are not billed, by alias or hash', () => {
    for (const unbilledKeys of [['chatbot'], ['88dc']]) {
      expect(decide(call, rulesFor('team', { unbilledKeys }), call.startedAt)).toEqual({
        kind: 'skip',
        reason: 'unbilled_keys',
      });
    }
    expect(decide(call, rulesFor('team', { unbilledKeys: ['other'] }), call.startedAt).kind).toBe('bill');
  });

  test.each(['', 'model', 'tag:', 'metadata:', 'key_id', 'constructor', 'toString'])(
    '%j is no way to charge',
    (text) => {
      expect(parseChargeBy(text)).toBeUndefined();
    },
  );

  test.each([null, '', '  ', '\u0000'])('is nobody where the name is %j', (endUser) => {
    expect(findPayer({ ...call, endUser }, rulesFor('end_user'))).toEqual({ unmapped: 'no_payer', id: null });
  });

  test('is whom the map says, and nobody else; a key is found by its alias and by its hash', () => {
    const mapping = () =>
      new Map([
        ['88dc', 'sub_bot'],
        ['acme', 'sub_acme'],
      ]);
    expect(findPayer(call, rulesFor('key', { mapping }))).toEqual({ subscription: 'sub_bot' });
    expect(findPayer(call, rulesFor('end_user', { mapping }))).toEqual({ subscription: 'sub_acme' });
    expect(findPayer(call, rulesFor('team', { mapping }))).toEqual({ unmapped: 'not_in_map', id: 'platform' });
    expect(findPayer(call, rulesFor('team', { mapping, defaultSubscription: 'house' }))).toEqual({
      subscription: 'house',
    });
  });

  test('is not whom a request names, unless it is trusted to', () => {
    const untrusting = { trustRequestUser: false };
    expect(findPayer(call, rulesFor('end_user', untrusting))).toEqual({ unmapped: 'untrusted_payer', id: 'acme' });
    expect(findPayer(call, rulesFor('team', untrusting))).toEqual({ subscription: 'platform' });
    expect(findPayer(fromRecord(record), rulesFor('end_user', untrusting))).toEqual({
      unmapped: 'untrusted_payer',
      id: 'acme',
    });
  });

  test('of a usage record is its checked caller, or its end user', () => {
    for (const text of ['user', 'team', 'key', 'organization', 'tag:customer']) {
      expect(findPayer(fromRecord(record), rulesFor(text))).toEqual({ subscription: 'n8n' });
    }
    expect(findPayer(fromRecord(record), rulesFor('end_user'))).toEqual({ subscription: 'acme' });
    expect(findPayer(fromRecord(record), rulesFor('metadata:backend'))).toEqual({ subscription: 'ollama' });
  });

  test('is never an id with a slash, which Lago does not take', () => {
    expect(findPayer({ ...call, endUser: 'a/b' }, rulesFor('end_user'))).toMatchObject({ unmapped: 'not_in_map' });
  });
});

describe('what is done with a call', () => {
  const now = Date.parse('2026-11-20T12:00:00Z');
  const reasonOf = (changes: Partial<Call>, rules: Partial<BillingRules> = {}) => {
    const decision = decide({ ...call, ...changes }, rulesFor('end_user', rules), now);
    return decision.kind === 'skip' ? decision.reason : decision.kind;
  };

  test.each([
    [{}, {}, 'bill'],
    [{ isCacheHit: true }, {}, 'cache_hits'],
    [{ isFailure: true, spend: 0n }, {}, 'failures'],
    [{ isFailure: true, spend: 1n }, {}, 'bill'],
    [{ isFailure: true, spend: 0n, completion: 0 }, { mode: 'tokens' }, 'failures'],
    [{ isFailure: true, spend: 0n, completion: 9 }, { mode: 'tokens' }, 'bill'],
    [{ isBilledElsewhere: true }, {}, 'billed_by_litellm'],
    [{ tags: ['byok'] }, { unbilledTags: ['byok'] }, 'unbilled_tags'],
    [{ spend: 0n }, {}, 'bill'],
    [{ spend: 0n }, { sendZeroCost: false }, 'zero_cost'],
    [{ spend: null }, { sendZeroCost: false }, 'zero_cost'],
    [{ tokens: {} }, { mode: 'tokens' }, 'no_usage'],
    [{ startedAt: 99 }, { billFrom: 100 }, 'before_bill_from'],
    [{ startedAt: 100 }, { billFrom: 100 }, 'bill'],
    [{ endUser: null }, {}, 'hold'],
  ] as [Partial<Call>, Partial<BillingRules>, string][])('of %o under %o is %s', (changes, rules, reason) => {
    expect(reasonOf(changes, rules)).toBe(reason);
  });

  test('that LiteLLM bills itself is never sent, whoever pays', () => {
    const own = fromRecord({ ...record, billed_by: 'litellm' });
    expect(decide(own, rulesFor('key', { defaultSubscription: 'house' }), now)).toEqual({
      kind: 'skip',
      reason: 'billed_by_litellm',
    });
  });
});
