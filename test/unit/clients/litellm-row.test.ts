import { describe, expect, it } from 'vitest';
import { parseSpendRow, RowError } from '#shared/clients/litellm-row.ts';

/** The columns that every version has had. */
const oldest = {
  request_id: 'chatcmpl-1',
  call_type: 'acompletion',
  api_key: 'ab12',
  spend: 0.00133,
  total_tokens: 100,
  prompt_tokens: 17,
  completion_tokens: 83,
  startTime: '2024-12-10T10:15:01.120000Z',
  endTime: '2024-12-10T10:15:03.004000Z',
  model: 'gpt-4o',
};

describe('a row of spend logs', () => {
  it('needs only the columns of old versions', () => {
    expect(parseSpendRow(oldest)).toEqual({
      requestId: 'chatcmpl-1',
      litellmCallId: null,
      callType: 'acompletion',
      apiKeyHash: 'ab12',
      keyAlias: null,
      teamAlias: null,
      userEmail: null,
      spend: 1_330_000_000n,
      totalTokens: 100,
      promptTokens: 17,
      completionTokens: 83,
      startTime: new Date('2024-12-10T10:15:01.120Z'),
      endTime: new Date('2024-12-10T10:15:03.004Z'),
      model: 'gpt-4o',
      modelGroup: null,
      provider: null,
      user: null,
      teamId: null,
      organizationId: null,
      endUser: null,
      status: 'success',
      isCacheHit: false,
      tags: [],
      metadata: {},
    });
  });

  it.each([
    '2026-08-06T14:30:00+00:00',
    '2026-08-06T14:30:00.000000Z',
    '2026-08-06T14:30:00',
    '2026-08-06 14:30:00',
    '2026-08-06T16:30:00+02:00',
  ])('takes the time %s, which is UTC without an offset', (startTime) => {
    expect(parseSpendRow({ ...oldest, startTime }).startTime).toEqual(new Date('2026-08-06T14:30:00Z'));
  });

  it('takes tags and metadata as JSON or as JSON text', () => {
    const metadata = { user_api_key_alias: 'chatbot', litellm_call_id: 'call-1' };
    const asText = { request_tags: '["prod"]', metadata: JSON.stringify(metadata) };
    for (const columns of [{ request_tags: ['prod'], metadata }, asText]) {
      expect(parseSpendRow({ ...oldest, ...columns })).toMatchObject({
        tags: ['prod'],
        keyAlias: 'chatbot',
        litellmCallId: 'call-1',
        metadata,
      });
    }
    expect(parseSpendRow({ ...oldest, request_tags: 'broken', metadata: null })).toMatchObject({
      tags: [],
      metadata: {},
    });
  });

  it.each([
    ['True', true],
    ['False', false],
    ['None', false],
    ['', false],
    [null, false],
    [true, true],
  ])('reads the cache_hit %j as %j', (cacheHit, expected) => {
    expect(parseSpendRow({ ...oldest, cache_hit: cacheHit }).isCacheHit).toBe(expected);
  });

  it('takes an empty name for none, an amount as text, and counts that are null', () => {
    const row = parseSpendRow({
      ...oldest,
      team_id: '',
      end_user: '',
      api_key: '',
      spend: '1.5e-07',
      total_tokens: null,
    });
    expect(row).toMatchObject({ teamId: null, endUser: null, apiKeyHash: null, spend: 150_000n, totalTokens: 0 });
  });

  it.each([{ request_id: '' }, { request_id: undefined }, { startTime: 'yesterday' }, { spend: 'much' }])(
    'refuses %j, which could not be billed',
    (columns) => {
      expect(() => parseSpendRow({ ...oldest, ...columns })).toThrow(RowError);
    },
  );
});
