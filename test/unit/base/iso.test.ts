import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toIso } from '#shared/iso.ts';

describe('toIso', () => {
  it('writes every time as toISOString does, whatever time was asked for before', () => {
    const ms = fc.integer({ min: Date.UTC(1, 0), max: Date.UTC(9999, 11, 31) });
    fc.assert(
      fc.property(fc.array(fc.oneof(ms, fc.integer({ min: 1_767_225_599_000, max: 1_767_225_601_000 }))), (times) => {
        for (const time of times) expect(toIso(time)).toBe(new Date(time).toISOString());
      }),
    );
  });
});
