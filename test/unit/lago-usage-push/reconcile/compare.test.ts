import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { StoredEvent } from '#shared/clients/lago-ledger.ts';
import { compare, type Expected } from '../../../../functions/lago-usage-push/reconcile/compare.ts';
import { createSum, formatScaled, toScaled } from '../../../../functions/lago-usage-push/reconcile/sums.ts';

const at = Date.parse('2026-11-20T12:00:00Z');
const own = (n: number) => `litellm-${String(n).padStart(32, '0')}-chatcmpl-${n}`;

const expected = (n: number, changes: Partial<Expected> = {}): Expected => ({
  transactionId: own(n),
  requestId: `chatcmpl-${n}`,
  subscription: 'acme',
  model: 'gpt-4o',
  code: 'llm_cost',
  amount: '0.0012',
  baseCost: '0.001',
  totalTokens: 100 + n,
  at: at + n * 1000,
  ...changes,
});

const stored = (item: Expected, changes: Partial<StoredEvent> = {}): StoredEvent => ({
  transactionId: item.transactionId,
  subscription: item.subscription,
  code: item.code,
  at: new Date(item.at),
  arrivedAt: new Date(item.at + 60_000),
  preciseCents: null,
  properties: { model: item.model, cost: item.amount },
  ...changes,
});

/** As LiteLLM's own callback sends it: a random id, the time of receipt, the cost as a number. */
const callback = (item: Expected, changes: Partial<StoredEvent> = {}): StoredEvent =>
  stored(item, {
    transactionId: 'b7c0c4c4-6a3a-4b52-9a5e-0d9a3b7f1a11',
    at: new Date(item.at + 5_000),
    properties: { model: item.model, response_cost: Number(item.baseCost), total_tokens: item.totalTokens },
    ...changes,
  });

describe('two ledgers', () => {
  test('agree where Lago has each event once', () => {
    const calls = [expected(1), expected(2)];
    const result = compare(
      calls,
      calls.map((item) => stored(item)),
    );
    expect(result).toMatchObject({ missing: [], double: [], changed: [], notInLedger: [], foreign: [] });
    expect(result.found).toHaveLength(2);
  });

  test('show what is missing', () => {
    expect(compare([expected(1), expected(2)], [stored(expected(1))]).missing).toEqual([expected(2)]);
  });

  test('show an id that Lago has twice, as a store does that replaces by id and time', () => {
    const again = stored(expected(1), { at: new Date(at) });
    expect(compare([expected(1)], [stored(expected(1)), again]).double).toMatchObject([{ kind: 'same_id' }]);
  });

  test("show a call that LiteLLM's own callback billed as well", () => {
    const result = compare(
      [expected(1), expected(2)],
      [stored(expected(1)), stored(expected(2)), callback(expected(2))],
    );
    expect(result.double).toMatchObject([{ kind: 'callback', expected: { requestId: 'chatcmpl-2' } }]);
    expect(result.foreign).toEqual([]);
  });

  test("find the callback's copy of a call just before the window", () => {
    const before = expected(1, { at: at - 1000 });
    const copy = callback(before, { at: new Date(at + 1000) });
    expect(compare([], [copy], [before]).double).toMatchObject([{ kind: 'callback', expected: before }]);
  });

  test.each<[string, Partial<StoredEvent>]>([
    ['for another subscription', { subscription: 'globex' }],
    ['an hour later', { at: new Date(at + 3_600_000) }],
    ['before the call', { at: new Date(at - 60_000) }],
    ['with other tokens', { properties: { model: 'gpt-4o', response_cost: 0.001, total_tokens: 1 } }],
    ['without a cost', { properties: { model: 'gpt-4o', response_cost: 0 } }],
  ])('take an event of somebody else %s for no double', (_, changes) => {
    const result = compare([expected(1)], [stored(expected(1)), callback(expected(1), changes)]);
    expect(result.double).toEqual([]);
    expect(result.foreign).toHaveLength(1);
  });

  test('leave out what others send to metrics of their own', () => {
    const other = stored(expected(9), { transactionId: 'x', code: 'seats', properties: {} });
    expect(compare([expected(1)], [stored(expected(1)), other]).foreign).toEqual([]);
  });

  test('tell our own events without a call from those of an earlier period', () => {
    const gone = stored(expected(7));
    const shifted = stored(expected(8), { properties: { cost: '1', usage_date: '2026-10-31T23:59:00.000Z' } });
    expect(compare([], [gone, shifted]).notInLedger).toEqual([gone]);
  });

  test('show where Lago has another amount or another payer', () => {
    const other = stored(expected(1), { properties: { model: 'gpt-4o', cost: '0.0013' } });
    const same = stored(expected(2), { properties: { model: 'gpt-4o', cost: '0.00120' } });
    const moved = stored(expected(3), { subscription: 'globex' });
    const result = compare([expected(1), expected(2), expected(3)], [other, same, moved]);
    expect(result.changed.map((item) => item.expected.requestId)).toEqual(['chatcmpl-1', 'chatcmpl-3']);
    expect(result.found).toHaveLength(1);
  });

  test('put every call and every event into one list, whatever Lago has', () => {
    const kinds = fc.constantFrom('once', 'twice', 'never', 'callback', 'changed');
    fc.assert(
      fc.property(fc.array(kinds, { maxLength: 30 }), (fates) => {
        const calls = fates.map((_, index) => expected(index));
        const events = calls.flatMap((item, index) => {
          const event = stored(item);
          const fate = fates[index];
          if (fate === 'never') return [];
          if (fate === 'twice') return [event, stored(item, { at: new Date(at) })];
          if (fate === 'callback') return [event, callback(item, { transactionId: `foreign-${index}` })];
          return fate === 'changed' ? [stored(item, { properties: { cost: '9' } })] : [event];
        });
        const result = compare(calls, events);
        const count = (...wanted: string[]) => fates.filter((fate) => wanted.includes(fate)).length;
        expect(result.missing).toHaveLength(count('never'));
        expect(result.found).toHaveLength(count('once', 'twice', 'callback'));
        expect(result.changed).toHaveLength(count('changed'));
        expect(result.double.filter(({ kind }) => kind === 'same_id')).toHaveLength(count('twice'));
        expect(result.double.filter(({ kind }) => kind === 'callback')).toHaveLength(count('callback'));
        expect(result.foreign).toEqual([]);
      }),
    );
  });
});

describe('sums', () => {
  test('are exact, and count what is no number as Lago does: not at all', () => {
    const sum = createSum();
    for (const value of ['0.1', '0.2', 1e-7, '1,000', undefined, '-0.05']) sum.add(value);
    expect(sum.toJSON()).toEqual({ events: 6, amount: '0.2500001' });
  });

  test('give back every decimal of up to eighteen places', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), (value) => {
        expect(toScaled(formatScaled(value))).toBe(value);
      }),
    );
  });
});
