import { describe, expect, it } from 'vitest';
import { HttpError } from '#shared/errors.ts';
import { offWithoutStore } from '../../../functions/completion-proxy/accounting.ts';
import { createLimits } from '../../../functions/completion-proxy/callers/limits.ts';
import { entriesForNobody, parsePolicies } from '../../../functions/completion-proxy/callers/policy.ts';
import type { CallFacts } from '../../../functions/completion-proxy/road/observer.ts';
import { makeRecord } from '../../support/call-record.ts';

const start = Date.UTC(2026, 10, 1, 23, 59, 0);
let time = start;

const policies = parsePolicies(
  JSON.stringify({
    alice: { models: ['gpt-*'], requests_per_minute: 2, tokens_per_minute: 100, daily_budget_usd: '0.01' },
    '*': { models: ['llama3.3'] },
  }),
);
function open() {
  time = start;
  return createLimits({ policies, addShared: undefined, now: () => time });
}

const facts = (name: string, more: Partial<CallFacts> = {}): CallFacts => ({
  callId: 'c',
  caller: { name, method: 'api-key' },
  method: 'POST',
  path: '/v1/chat/completions',
  dialect: 'chat',
  isLlm: true,
  trace: undefined,
  requestedModel: 'gpt-4o',
  endUser: undefined,
  stream: false,
  ...more,
});
function refusal(run: () => void): HttpError {
  try {
    run();
  } catch (error) {
    if (error instanceof HttpError) return error;
  }
  throw new Error('it was admitted');
}

describe('the limits of a caller', () => {
  it('admit a model of the list and answer 404 with the list for another', () => {
    const limits = open();
    limits.admit(facts('alice'));
    const error = refusal(() => limits.admit(facts('alice', { requestedModel: 'claude' })));
    expect([error.status, error.code, error.message]).toEqual([
      404,
      'model_not_found',
      expect.stringContaining('gpt-*'),
    ]);
    expect(limits.mayUse('alice', 'gpt-4o-mini')).toBe(true);
    expect(limits.mayUse('alice', 'llama3.3')).toBe(false);
    expect(limits.mayUse('bob', 'llama3.3')).toBe(true);
  });

  it('let nothing past the list of models that cannot be held against it', () => {
    const limits = open();
    const nameless = refusal(() => limits.admit(facts('alice', { requestedModel: undefined })));
    expect([nameless.status, nameless.code]).toEqual([400, 'model_required']);
    const other = facts('alice', { requestedModel: undefined, isLlm: false, path: '/v1/batches' });
    expect(refusal(() => limits.admit(other)).status).toBe(403);
    limits.admit({ ...other, method: 'GET' });
  });

  it('let nothing past tokens and budgets that is not counted', () => {
    const policies = parsePolicies(
      '{"t": {"tokens_per_minute": 5}, "b": {"daily_budget_usd": 1}, "r": {"admin": true}}',
    );
    const limits = createLimits({ policies, addShared: undefined, now: () => time });
    const batch = { requestedModel: undefined, isLlm: false, path: '/v1/batches' };
    for (const name of ['t', 'b']) {
      expect(refusal(() => limits.admit(facts(name, batch))).code).toBe('path_not_allowed');
      limits.admit(facts(name, { ...batch, method: 'GET' }));
      limits.admit(facts(name, { requestedModel: undefined }));
    }
    limits.admit(facts('r', batch));
  });

  it('count requests in the minute, and say when the next one begins', () => {
    const limits = open();
    time += 15_000;
    limits.admit(facts('alice'));
    limits.admit(facts('alice'));
    const error = refusal(() => limits.admit(facts('alice')));
    expect([error.status, error.code, error.headers['Retry-After']]).toEqual([429, 'rate_limit', '45']);
    expect(limits.headers('alice')).toEqual([
      ['x-ratelimit-limit-requests', '2'],
      ['x-ratelimit-remaining-requests', '0'],
      ['x-ratelimit-reset-requests', '45s'],
      ['x-ratelimit-limit-tokens', '100'],
      ['x-ratelimit-remaining-tokens', '100'],
      ['x-ratelimit-reset-tokens', '45s'],
    ]);
    time += 45_000;
    limits.admit(facts('alice'));
  });

  it('charge tokens when a call has ended, cached ones of Anthropic too, and refuse the next', () => {
    const limits = open();
    limits.settle(
      makeRecord('r', { caller: 'alice', tokens: { input: 10, output: 20, cached_input: 60 }, cost_usd: null }),
      undefined,
    );
    limits.admit(facts('alice'));
    limits.settle(
      makeRecord('r', {
        caller: 'alice',
        provider: 'anthropic',
        tokens: { input: 5, output: 5, cached_input: 60 },
        cost_usd: null,
      }),
      undefined,
    );
    expect(refusal(() => limits.admit(facts('alice'))).code).toBe('token_limit');
  });

  it('stop at the daily budget until midnight in UTC', () => {
    const limits = open();
    limits.settle(makeRecord('r', { caller: 'alice', tokens: {}, cost_usd: '0.0099999991' }), 9_999_999_100n);
    const error = refusal(() => limits.admit(facts('alice')));
    expect([error.status, error.code, error.headers['Retry-After']]).toEqual([429, 'budget_exceeded', '60']);
    expect(limits.describe('alice')).toMatchObject({
      name: 'alice',
      models: ['gpt-*'],
      daily_budget_usd: { limit: '0.01', spent: '0.01', remaining: '0', resets_at: '2026-11-02T00:00:00.000Z' },
      requests_per_minute: { limit: 2, remaining: 2 },
    });
    time += 60_000;
    limits.admit(facts('alice'));
  });

  it('leave a caller without an entry to the entry *, and without either alone', () => {
    const limits = open();
    expect(refusal(() => limits.admit(facts('bob'))).status).toBe(404);
    const none = createLimits({ policies: new Map(), addShared: undefined, now: () => time });
    none.admit(facts('bob', { requestedModel: undefined }));
    expect(none.headers('bob')).toEqual([]);
    expect(none.describe('bob')).toEqual({
      name: 'bob',
      models: null,
      requests_per_minute: null,
      tokens_per_minute: null,
      daily_budget_usd: null,
    });
  });
});

describe('CALLERS', () => {
  it('has limits that a store in the temporary folder does not hold for a day, and that is said', () => {
    const off = (text: string, USAGE_WEBHOOK_URL?: string) =>
      offWithoutStore({ CALLERS: parsePolicies(text), USAGE_WEBHOOK_URL });
    expect(off('{"a": {"models": ["m"], "admin": true}}')).toEqual([]);
    expect(off('{"a": {"daily_budget_usd": 1}}', 'http://lago')).toEqual([
      expect.stringContaining('budgets'),
      expect.stringContaining('usage records'),
    ]);
  });

  it('is told apart from the keys that there are: a misspelt entry leaves the key that was meant without limits', () => {
    const policies = parsePolicies('{"alice": {}, "alcie": {}, "anonymous": {}, "*": {}}');
    expect(entriesForNobody(policies, 'alice:k-1\nbob:k-2', false)).toEqual(['alcie', 'anonymous']);
    expect(entriesForNobody(policies, '', true)).toEqual(['alice', 'alcie']);
  });

  it.each([
    ['{', 'is not JSON'],
    ['{"a": {"models": []}}', 'CALLERS.a.models'],
    ['{"a": {"request_per_minute": 1}}', 'CALLERS.a'],
    ['{"a": {"requests_per_minute": 0}}', 'CALLERS.a.requests_per_minute'],
    ['{"a": {"daily_budget_usd": "much"}}', 'CALLERS.a.daily_budget_usd: must be an amount'],
    ['{"a": {"daily_budget_usd": -1}}', 'CALLERS.a.daily_budget_usd'],
  ])('%s is refused at start, naming the place', (text, sentence) => {
    expect(() => parsePolicies(text)).toThrow(sentence);
  });
});
