import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createHops } from '../../../tools/gateway/hops.ts';

function open(count: number) {
  const out: Buffer[] = [];
  const hops = createHops(count, (bytes) => out.push(bytes));
  return { ...hops, received: () => Buffer.concat(out) };
}

describe('hops that keep an answer back', () => {
  // The figures of `npm run bench -- stream` for hops with Go's own net/http, which the system tier holds against these.
  it.each([
    [1, 4_234],
    [2, 36_864],
    [3, 36_864],
  ])('%i of them have at most as much on the way as Go has, in pieces of 64 bytes: %i', (count, most) => {
    const hops = open(count);
    let onTheWay = 0;
    for (let sent = 64; sent <= 48_000; sent += 64) {
      hops.write(Buffer.alloc(64));
      onTheWay = Math.max(onTheWay, sent - hops.received().length);
    }
    expect(onTheWay).toBe(most);
  });

  it.each([
    [1, 4_096, 3_072],
    [2, 10_240, 9_216],
    [3, 10_240, 9_216],
  ])(
    '%i of them let go of all that came before a write of %i bytes, and not always for one of %i',
    (count, enough, less) => {
      const before = fc.array(fc.integer({ min: 50, max: 450 }), { maxLength: 40 });
      const pushes = (sizes: number[], bytes: number) => {
        const hops = open(count);
        for (const size of sizes) hops.write(Buffer.alloc(size));
        hops.write(Buffer.alloc(bytes));
        return hops.received().length >= sizes.reduce((sum, size) => sum + size, 0);
      };
      fc.assert(fc.property(before, (sizes) => pushes(sizes, enough)));
      const tried = fc.sample(before, { numRuns: 300, seed: 1 });
      expect(tried.every((sizes) => pushes(sizes, less))).toBe(false);
    },
  );

  it('lose no byte and change no order, however an answer is cut', () => {
    const pieces = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40_000 }), { maxLength: 12 });
    fc.assert(
      fc.property(pieces, fc.integer({ min: 1, max: 3 }), (given, count) => {
        const hops = open(count);
        for (const piece of given) hops.write(Buffer.from(piece));
        hops.end();
        return hops.received().equals(Buffer.concat(given));
      }),
    );
  });
});
