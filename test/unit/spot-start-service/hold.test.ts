import { expect, test } from 'vitest';
import { createHold } from '../../../functions/spot-start-service/run/hold.ts';
import type { Lease } from '../../../shared/store/store.ts';
import { makeCall } from '../../support/call.ts';
import { createVirtualTime } from '../../support/virtual-time.ts';

const { log } = makeCall().context;

/** A lease whose renewals are answered as told, and how often it was taken. */
function arrange(renewals: (boolean | Error)[]) {
  const time = createVirtualTime();
  const done: string[] = [];
  const lease = async (): Promise<Lease> => {
    done.push('taken');
    return {
      async renew() {
        const answer = renewals.shift() ?? true;
        if (answer instanceof Error) throw answer;
        return answer;
      },
      async release() {
        done.push('released');
      },
    };
  };
  return { time, done, hold: createHold({ lease, ...time }) };
}

test('a lease that is renewed is held all along', async () => {
  const { time, done, hold } = arrange([]);
  const held = await hold('start/1', log, async (stillHeld) => {
    await time.sleep(600_000);
    return stillHeld();
  });
  expect({ held, done }).toEqual({ held: true, done: ['taken', 'released'] });
});

test('a renewal that is refused means a new look: the lease is taken anew before anything is changed', async () => {
  const { time, done, hold } = arrange([false]);
  const held = await hold('start/1', log, async (stillHeld) => {
    await time.sleep(25_000);
    return [await stillHeld(), await stillHeld()];
  });
  expect({ held, done }).toEqual({ held: [false, true], done: ['taken', 'taken', 'released'] });
});

test('a store that is silent for as long as the lease lasts counts as its loss, and for less does not', async () => {
  const silence = () => Array.from({ length: 3 }, () => new Error('ECONNREFUSED'));
  for (const [forMs, expected] of [
    [55_000, true],
    [61_000, false],
  ] as const) {
    const { time, hold } = arrange(silence());
    const held = await hold('start/1', log, async (stillHeld) => {
      await time.sleep(forMs);
      return stillHeld();
    });
    expect({ forMs, held }).toEqual({ forMs, held: expected });
  }
});

test('without a store, and with one that does not answer, the work goes on', async () => {
  const time = createVirtualTime();
  const alone = createHold({ lease: undefined, ...time });
  const lease = () => Promise.reject(new Error('ECONNREFUSED'));
  for (const hold of [alone, createHold({ lease, ...time })]) {
    expect(await hold('start/1', log, (stillHeld) => stillHeld())).toBe(true);
  }
});
