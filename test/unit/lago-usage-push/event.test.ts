import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseUsd } from '#shared/money.ts';
import {
  chargeByNames,
  findSkipReason,
  findSubscription,
  toLagoEvent,
  toTransactionId,
  type UsageRow,
} from '../../../functions/lago-usage-push/event.ts';

const row: UsageRow = {
  requestId: 'chatcmpl-9ZKM',
  startTime: new Date('2026-11-20T10:15:01.120Z'),
  spend: parseUsd('7.5e-08'),
  model: 'gpt-4o',
  promptTokens: 17,
  completionTokens: 83,
  totalTokens: 100,
  endUser: 'acme',
  user: 'alice',
  teamId: 'platform',
  status: 'success',
  isCacheHit: false,
};

test("builds an event in the shape of LiteLLM's callback with a stable id, a time and exact plain decimals", () => {
  expect(toLagoEvent(row, 'acme', 'llm_cost')).toEqual({
    transaction_id: 'litellm-b4c7ba066a5f931f701ebdb4d3421e54-chatcmpl-9ZKM',
    external_subscription_id: 'acme',
    code: 'llm_cost',
    timestamp: '1795169701.120',
    properties: {
      model: 'gpt-4o',
      response_cost: '0.000000075',
      prompt_tokens: '17',
      completion_tokens: '83',
      total_tokens: '100',
    },
  });
});

describe('transaction ids', () => {
  const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 400 });
  const pair = fc.tuple(text, text);

  test('differ for any two pairs of subscription and request id, and are equal for the same one', () => {
    fc.assert(
      fc.property(pair, pair, (left, right) => {
        const isSame = left[0] === right[0] && left[1] === right[1];
        expect(toTransactionId(...left) === toTransactionId(...right)).toBe(isSame);
        expect(toTransactionId(...left)).toBe(toTransactionId(left[0], left[1]));
      }),
      { numRuns: 500 },
    );
  });

  test('are told apart where the parts join to the same text', () => {
    expect(toTransactionId('a-b', 'c')).not.toBe(toTransactionId('a', 'b-c'));
    expect(toTransactionId('a', 'x/y')).not.toBe(toTransactionId('a', 'x_y'));
  });

  test('stay below 255 bytes and fit into a path', () => {
    fc.assert(fc.property(pair, (ids) => /^[A-Za-z0-9._-]{40,254}$/.test(toTransactionId(...ids))));
  });
});

test('writes every amount without an exponent, and reads it back to the last picodollar', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 10n ** 18n }), (spend) => {
      const cost = toLagoEvent({ ...row, spend }, 'acme', 'c').properties.response_cost ?? '';
      expect(cost).toMatch(/^\d+(\.\d+)?$/);
      expect(parseUsd(cost)).toBe(spend);
    }),
  );
});

test('writes the time as unix seconds to the millisecond', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4e12 }), (ms) => {
      const { timestamp } = toLagoEvent({ ...row, startTime: new Date(ms) }, 'acme', 'c');
      expect(timestamp).toBe(`${Math.floor(ms / 1000)}.${String(ms % 1000).padStart(3, '0')}`);
    }),
  );
});

test.each([
  ['end_user_id', 'acme'],
  ['user_id', 'alice'],
  ['team_id', 'platform'],
] as const)('charges by %s to %s', (chargeBy, subscription) => {
  expect(findSubscription(row, chargeBy)).toBe(subscription);
});

test.each(chargeByNames)('finds nobody to charge by %s where LiteLLM has an empty name or none', (chargeBy) => {
  for (const name of ['', ' ', null]) {
    expect(findSubscription({ ...row, endUser: name, user: name, teamId: name }, chargeBy)).toBeUndefined();
  }
});

test.each([
  [{}, undefined],
  [{ spend: 0n }, undefined],
  [{ status: 'failure', spend: 0n }, 'failures'],
  [{ status: 'failure', spend: 1n }, undefined],
  [{ isCacheHit: true, spend: 0n }, 'cache_hits'],
] as const)('skips %o as %s', (changes, reason) => {
  expect(findSkipReason({ ...row, ...changes })).toBe(reason);
});
