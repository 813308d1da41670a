import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packRecords, unpackRecords } from '../../../functions/completion-proxy/records/batch.ts';
import type { CallRecord } from '../../../functions/completion-proxy/records/record.ts';

describe('a batch of records in the store', () => {
  const value = fc.oneof(
    fc.constantFrom('a', 'b', null, 0, 1, true),
    fc.array(fc.nat(3), { maxLength: 2 }),
    fc.record({ input: fc.nat(9) }),
  );

  it('gives back what was put in, in its order, whether the records are alike or not', () => {
    const record = fc.record({ id: fc.string(), model: value, tokens: value, failed_attempts: value });
    fc.assert(
      fc.property(fc.array(record, { maxLength: 9 }), (records) => {
        const stored = JSON.stringify(packRecords(records as unknown as CallRecord[]));
        expect(unpackRecords(JSON.parse(stored))).toEqual(records);
      }),
    );
  });

  it('keeps once what all of its records say', () => {
    const records = Array.from({ length: 200 }, (_, id) => ({ id, path: '/v1/chat/completions', caller: 'alice' }));
    const stored = JSON.stringify(packRecords(records as unknown as CallRecord[]));
    expect(stored.split('/v1/chat/completions')).toHaveLength(2);
    expect(stored.split('alice')).toHaveLength(2);
  });
});
