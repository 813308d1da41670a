import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseUsd } from '#shared/money.ts';
import { isSince, toWantedCharge } from '../../../../functions/lago-usage-push/provision/charges.ts';
import { toPlainDecimal } from '../../../../functions/lago-usage-push/provision/decimal.ts';
import { parsePlanFile } from '../../../../functions/lago-usage-push/provision/plan-file.ts';

const fails = (text: string) =>
  parsePlanFile(text).then(
    () => 'it was taken',
    (error: unknown) => error,
  );

describe('a plan file', () => {
  test('is YAML or JSON, and fills in what is the same for most', async () => {
    const plan = { code: 'payg', amount_currency: 'USD' };
    expect((await parsePlanFile(JSON.stringify({ version: 1, plans: [plan] }))).plans[0]).toEqual({
      ...plan,
      interval: 'monthly',
      amount_cents: 0,
      pay_in_advance: false,
      charges: [],
    });
    expect(await parsePlanFile('version: 1\nsubscriptions: []')).toMatchObject({ customers: [], subscriptions: [] });
  });

  test.each([
    ['version: [', /neither YAML nor JSON/],
    ['', /has mistakes/],
    ['version: 2', /version/],
    ['version: 1\nplan: []', /plan/],
    ['version: 1\nplans: [{code: a, amount_currency: dollars}]', /currency such as USD/],
    ['version: 1\nbillable_metrics: [{code: a, aggregation_type: sum_agg}]', /a needs field_name/],
    ['version: 1\ncustomers: [{external_id: a}, {external_id: a}]', /customers: a is there twice/],
    ['version: 1\ncustomers: [{external_id: a/b}]', /slash/],
    [
      'version: 1\nplans: [{code: p, amount_currency: USD, charges: [{billable_metric: m, model_prices: {prices: {a: 1}}}]}]',
      /model_prices \(with default\)/,
    ],
    [
      'version: 1\nplans: [{code: p, amount_currency: USD, charges: [{billable_metric: m, model_prices: {default: -1, prices: {}}}]}]',
      /charges/,
    ],
    [
      'version: 1\nplans: [{code: p, amount_currency: USD, charges: [{billable_metric: m, cost_pass_through: {charge_model: dynamic, markup: 1.2}}]}]',
      /put the markup there/,
    ],
  ])('refuses %j and says why', async (text, reason) => {
    expect(await fails(text)).toMatchObject({ status: 400, code: 'bad_plan', message: expect.stringMatching(reason) });
  });

  test('does not follow aliases without end', async () => {
    const bomb = `a: &a [x, x]\nb: &b [${'*a, '.repeat(30)}]\nversion: 1`;
    expect(await fails(bomb)).toMatchObject({ status: 400 });
  });
});

describe('prices', () => {
  test.each([
    ['2.50', 6, '0.0000025'],
    [0.15, 6, '0.00000015'],
    [1e-7, 0, '0.0000001'],
    ['0.00000000000007', 6, '0.00000000000000000007'],
    ['1200', 3, '1.2'],
    ['0', 6, '0'],
    ['3e2', 0, '300'],
  ])('%s over 10^%i is %s', (value, places, expected) => {
    expect(toPlainDecimal(value, places)).toBe(expected);
  });

  test('a price of a million is a price of one, exactly', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 15n }), (micro) => {
        const perMillion = toPlainDecimal(String(micro), 6);
        expect(parseUsd(toPlainDecimal(perMillion, 6))).toBe(micro);
      }),
    );
  });
});

describe('a charge', () => {
  const prices = { per: 1_000_000 as const, prices: { 'gpt-4o': '2.5' }, default: '1' };
  const pass = { charge_model: 'standard' as const, markup: '1.2', group_by: ['model'] };
  const common = { billable_metric: 'm', pay_in_advance: false };

  test('with model prices has a filter for each model and a price for all the others', () => {
    expect(toWantedCharge({ ...common, model_prices: prices }, '1.12.2')).toEqual({
      charge_model: 'standard',
      pay_in_advance: false,
      properties: { amount: '0.000001' },
      filters: [{ invoice_display_name: 'gpt-4o', properties: { amount: '0.0000025' }, values: { model: ['gpt-4o'] } }],
    });
  });

  test.each([
    ['1.12.2', { amount: '1.2', grouped_by: ['model'] }],
    ['1.29.9', { amount: '1.2', grouped_by: ['model'] }],
    ['1.30.0', { amount: '1.2', pricing_group_keys: ['model'] }],
    ['v1.51.0', { amount: '1.2', pricing_group_keys: ['model'] }],
  ])('that passes cost through has the group keys of Lago %s', (version, properties) => {
    expect(toWantedCharge({ ...common, cost_pass_through: pass }, version).properties).toEqual(properties);
  });

  test('compares versions by their numbers', () => {
    expect([isSince('1.9.0', 13), isSince('1.13.0', 13, 1), isSince('1.13.1', 13, 1), isSince('2.0.0', 13)]).toEqual([
      false,
      false,
      true,
      true,
    ]);
  });
});
