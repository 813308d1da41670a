import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseSpendRow } from '#shared/clients/litellm-row.ts';
import { parseUsd } from '#shared/money.ts';
import { type EventMode, toEvents } from '../../../../functions/lago-usage-push/billing/events.ts';
import { findPayer, parseChargeBy } from '../../../../functions/lago-usage-push/billing/payer.ts';
import { restoreCall, storeCall, toCallId } from '../../../../functions/lago-usage-push/calls/call.ts';
import { fromRow } from '../../../../functions/lago-usage-push/calls/from-row.ts';
import { fromWebhook } from '../../../../functions/lago-usage-push/calls/from-webhook.ts';
import { completeRow, type SpendLogRow } from '../../../../sandbox/litellm/rows.ts';
import { toPayload } from '../../../support/litellm-payload.ts';

const name = fc.oneof(fc.constant(''), fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }));
const count = fc.nat({ max: 300_000 });

/** A logged call, as wild as LiteLLM's columns allow. */
const row: fc.Arbitrary<SpendLogRow> = fc
  .record({
    request_id: fc.oneof(fc.string({ unit: 'binary', minLength: 1, maxLength: 300 }), fc.constant('None')),
    startMs: fc.integer({ min: Date.parse('2024-06-01'), max: Date.parse('2031-01-01') }),
    spend: fc.oneof(
      fc.constant(0),
      fc.double({ min: 0, max: 500, noNaN: true }).filter((value) => value === 0 || value > 1e-12),
    ),
    model: name,
    provider: fc.constantFrom('openai', 'anthropic', 'gemini', ''),
    prompt: count,
    completion: count,
    cached: count,
    reasoning: count,
    audio: count,
    spoken: count,
    user: name,
    team: name,
    end_user: name,
    alias: name,
    customer: name,
    status: fc.constantFrom('success' as const, 'failure' as const, null),
    cache_hit: fc.constantFrom('True', 'False', 'None', ''),
    tags: fc.array(fc.string({ maxLength: 20 }), { maxLength: 3 }),
  })
  .map((made) =>
    completeRow({
      request_id: made.request_id,
      startTime: new Date(made.startMs).toISOString(),
      spend: made.spend,
      model: made.model,
      custom_llm_provider: made.provider,
      prompt_tokens: made.prompt,
      completion_tokens: made.completion,
      total_tokens: made.prompt + made.completion,
      user: made.user,
      team_id: made.team,
      end_user: made.end_user,
      status: made.status,
      cache_hit: made.cache_hit,
      request_tags: made.tags,
      metadata: {
        user_api_key_alias: made.alias,
        spend_logs_metadata: { customer: made.customer },
        usage_object: {
          prompt_tokens: made.prompt,
          completion_tokens: made.completion,
          prompt_tokens_details: { cached_tokens: made.cached, audio_tokens: made.audio, text_tokens: null },
          completion_tokens_details: { reasoning_tokens: made.reasoning, audio_tokens: made.spoken },
        },
      },
    }),
  );

const money = { currency: 'USD', rates: [], markup: { digits: 1n, scale: 0 } };
const eventsOf = (call: ReturnType<typeof fromRow>, mode: EventMode) =>
  toEvents(call, { subscription: 'sub', billedAt: call.startedAt }, { mode, code: 'llm', money, markupText: '1' });

describe("LiteLLM's row and its webhook", () => {
  test('give the same transaction ids, timestamps, properties and payers for the same call, in every mode', () => {
    fc.assert(
      fc.property(row, (wire) => {
        // The table cuts the microseconds that the webhook still has, and SQL prints them in its own way.
        const fromTable = fromRow(
          parseSpendRow({ ...wire, startTime: wire.startTime.replace('Z', '000+00:00'), endTime: wire.endTime }),
        );
        const pushed = fromWebhook(JSON.parse(JSON.stringify(toPayload(wire))), 0);
        for (const mode of ['cost', 'tokens', 'litellm'] as const) {
          expect(eventsOf(pushed, mode)).toEqual(eventsOf(fromTable, mode));
        }
        for (const text of ['end_user', 'user', 'team', 'key', 'tag:a', 'metadata:customer']) {
          const chargeBy = parseChargeBy(text)!;
          const rules = { chargeBy, trustRequestUser: true, mapping: () => undefined, defaultSubscription: undefined };
          expect(findPayer(pushed, rules)).toEqual(findPayer(fromTable, rules));
        }
        expect([pushed.isCacheHit, pushed.isFailure]).toEqual([fromTable.isCacheHit, fromTable.isFailure]);
      }),
      { numRuns: 400 },
    );
  });

  test("give the same events but for the provider in the webhook's first generation, which is Python's text", () => {
    fc.assert(
      fc.property(
        row.filter(({ end_user: user, model }) => user !== 'None' && model !== 'None'),
        (wire) => {
          const fromTable = fromRow(parseSpendRow(wire));
          const pushed = fromWebhook(JSON.parse(JSON.stringify(toPayload(wire, true))), 0);
          // It names no provider, as the rows of its time: all else of an event is the same, the split of tokens too.
          for (const mode of ['cost', 'tokens', 'litellm'] as const) {
            expect(eventsOf(pushed, mode)).toEqual(eventsOf({ ...fromTable, provider: null }, mode));
          }
          expect(pushed.tags).toEqual(fromTable.tags);
          const seen = ({ id, startedAt, spend, prompt, completion, total, endUser, team, user }: typeof pushed) => ({
            ...{ id, startedAt, spend, prompt, completion, total, endUser },
            team: team ?? '',
            user: user ?? '',
          });
          const none = (text: string) => (text === 'None' ? '' : text);
          const expected = seen(fromTable);
          expect(seen(pushed)).toEqual({ ...expected, team: none(expected.team), user: none(expected.user) });
        },
      ),
      { numRuns: 300 },
    );
  });

  test('agree to the millisecond, which is cut and not rounded', () => {
    const wire = completeRow({ request_id: 'a', startTime: '2025-11-21T00:00:00.512Z' });
    expect(fromWebhook({ ...toPayload(wire), startTime: 1763683200.512 }, 0).startedAt).toBe(1763683200512);
    expect(fromWebhook({ ...toPayload(wire), startTime: 1763683200.5129 }, 0).startedAt).toBe(1763683200512);
    expect(fromWebhook({ ...toPayload(wire), startTime: 1763683200 }, 0).startedAt).toBe(1763683200000);
  });

  test('tell calls apart that LiteLLM wrote the id None for', () => {
    const calls = ['2026-11-01T00:00:00.001Z', '2026-11-01T00:00:00.002Z'].map((startTime) =>
      fromRow(parseSpendRow(completeRow({ request_id: 'None', startTime }))),
    );
    expect(calls[0]?.id).not.toBe(calls[1]?.id);
  });
});

test('a call survives the store as it is', () => {
  fc.assert(
    fc.property(row, (wire) => {
      const call = fromRow(parseSpendRow(wire));
      expect(restoreCall(JSON.parse(JSON.stringify(storeCall(call))))).toEqual(call);
    }),
  );
});

describe('transaction ids', () => {
  const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 400 });

  test('differ for any two request ids, are equal for the same, and leave room below 255 bytes in a path', () => {
    fc.assert(
      fc.property(text, text, (left, right) => {
        expect(toCallId('litellm', left) === toCallId('litellm', right)).toBe(left === right);
        expect(toCallId('litellm', left)).not.toBe(toCallId('record', left));
        expect(`${toCallId('record', left)}-cache_creation`).toMatch(/^[A-Za-z0-9._-]{40,254}$/);
      }),
      { numRuns: 500 },
    );
    expect(toCallId('litellm', 'x/y')).not.toBe(toCallId('litellm', 'x_y'));
  });
});

test('reads an amount with an exponent from the row and from the webhook to the last picodollar', () => {
  const wire = completeRow({ request_id: 'a', startTime: '2026-11-01T00:00:00Z', spend: 7.5e-8 });
  expect(fromWebhook(toPayload(wire), 0).spend).toBe(parseUsd('0.000000075'));
  expect(fromWebhook(toPayload(wire, true), 0).spend).toBe(parseUsd('0.000000075'));
  expect(fromWebhook({ ...toPayload(wire), response_cost: null }, 0).spend).toBeNull();
});
