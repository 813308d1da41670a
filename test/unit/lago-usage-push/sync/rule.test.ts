import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findPlanCode, isMatch, parseSyncRule } from '../../../../functions/lago-usage-push/sync/rule.ts';
import { compareSides, planSync } from '../../../../functions/lago-usage-push/sync/sync.ts';

const rule = await parseSyncRule(`
for: team
plan_code: payg
rules:
  - { match: 'pro-*', plan_code: pro }
  - { match: '* (internal)', skip: true }
`);

describe('a plan rule', () => {
  test.each([
    ['pro-acme', null, 'pro'],
    ['t1', 'pro-acme', 'pro'],
    ['t1', 'Research (internal)', undefined],
    ['t1', 'Research', 'payg'],
  ])('gives %s (%s) the plan %s', (id, name, plan) => {
    expect(findPlanCode({ ids: [id], name }, rule)).toBe(plan);
  });

  test.each([
    ['for: team', /names no plan_code/],
    ['for: house\nplan_code: a', /for/],
    ['for: team\nplan_code: a\nextra: 1', /extra/],
    ['for: [', /neither YAML nor JSON/],
  ])('refuses %j', async (text, reason) => {
    await expect(parseSyncRule(text)).rejects.toThrow(reason);
  });

  test.each([
    ['a*c', 'abc', true],
    ['a*c', 'ac', true],
    ['*', '', true],
    ['a*b*c', 'acb', false],
    ['a*a', 'a', false],
    ['*ab*ab*', 'abab', true],
    ['abc', 'abcd', false],
    ['.*', 'anything', false],
  ])('takes %s for %s: %s', (glob, text, expected) => {
    expect(isMatch(glob, text)).toBe(expected);
  });

  test('matches as the same glob spelled as a regular expression', () => {
    const pieces = fc.array(fc.constantFrom('a', 'b', '*'), { maxLength: 7 }).map((list) => list.join(''));
    fc.assert(
      fc.property(pieces, fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 7 }), (glob, text) => {
        expect(isMatch(glob, text)).toBe(new RegExp(`^${glob.replaceAll('*', '.*')}$`).test(text));
      }),
    );
  });
});

test('every account is wanted or skipped, with the reason', () => {
  const accounts = [
    { ids: ['pro-a'], name: null },
    { ids: ['x (internal)'], name: null },
    { ids: ['nobody'], name: null },
    { ids: ['with/slash'], name: null },
  ];
  const { wanted, skipped } = planSync(accounts, rule, ([id]) => (id === 'nobody' ? undefined : id));
  expect([...wanted.values()]).toEqual([{ account: accounts[0], externalId: 'pro-a', planCode: 'pro' }]);
  expect(skipped).toEqual([
    { id: 'x (internal)', reason: 'no_plan' },
    { id: 'nobody', reason: 'not_in_map' },
    { id: 'with/slash', reason: 'slash_in_id' },
  ]);
});

test('tells who is missing and who is on another plan', () => {
  const account = { ids: ['a'], name: null };
  const wanted = new Map(['a', 'b', 'c'].map((id) => [id, { account, externalId: id, planCode: 'payg' }]));
  const subscription = (id: string, planCode: string) => ({
    externalId: id,
    customerId: id,
    planCode,
    name: null,
    status: 'active',
    billingTime: 'calendar' as const,
    subscriptionAt: null,
    startedAt: null,
    terminatedAt: null,
  });
  const { missing, otherPlan, unchanged } = compareSides(wanted, [subscription('a', 'payg'), subscription('b', 'pro')]);
  expect(missing.map(({ externalId }) => externalId)).toEqual(['c']);
  expect(otherPlan).toEqual([{ external_id: 'b', plan_code: 'pro', rule_says: 'payg' }]);
  expect(unchanged).toBe(1);
});
