import { describe, expect, it } from 'vitest';
import { type AddShared, Meter, type MeterOptions } from '../../../functions/completion-proxy/callers/meter.ts';

const start = Date.UTC(2026, 0, 1, 12, 0, 0);
let time = start;

/** A store in memory, with as many questions as it was asked. */
function createShared() {
  const counts = new Map<string, number>();
  const shared = {
    counts,
    asked: 0,
    isDown: false,
    add: (async (key, amount) => {
      shared.asked += 1;
      if (shared.isDown) throw new Error('down');
      counts.set(key, (counts.get(key) ?? 0) + amount);
      return counts.get(key)!;
    }) as AddShared,
  };
  return shared;
}

const create = (options: Partial<MeterOptions> = {}) =>
  new Meter({ limit: 100, windowMs: 60_000, key: 'k', addShared: undefined, now: () => time, ...options });

describe('a meter', () => {
  it('counts down within a window and begins anew with the next, at the minute', () => {
    time = start + 59_000;
    const meter = create();
    expect(meter.left()).toBe(100);
    meter.use(30);
    meter.use(80);
    expect(meter.left()).toBe(-10);
    expect(meter.resetsAt()).toBe(start + 60_000);
    time = start + 60_000;
    expect(meter.left()).toBe(100);
    expect(meter.resetsAt()).toBe(start + 120_000);
  });

  it('learns what other replicas used, without a question for each call', async () => {
    time = start;
    const shared = createShared();
    const [one, two] = [create({ addShared: shared.add }), create({ addShared: shared.add })];
    for (let call = 0; call < 40; call += 1) {
      one.use(1);
      two.use(1);
      if (call % 5 === 4) await Promise.all([one.settled(), two.settled()]);
    }
    await Promise.all([one.settled(), two.settled()]);
    // Each has missed what the other used since it last asked, and what the other has not told yet.
    for (const meter of [one, two]) expect(Math.abs(meter.left() - 20)).toBeLessThanOrEqual(2 * 5);
    expect(shared.asked).toBeLessThanOrEqual(2 * (1 + 40 / 5));
  });

  it('is passed by at most a block for each other replica', async () => {
    time = start;
    const shared = createShared();
    const replicas = Array.from({ length: 4 }, () => create({ addShared: shared.add }));
    let admitted = 0;
    for (let round = 0; round < 200; round += 1) {
      for (const meter of replicas) {
        if (meter.left() <= 0) continue;
        meter.use(1);
        admitted += 1;
      }
      // Answers of the store come between the calls, in any order.
      await Promise.all(replicas.map((meter) => meter.settled()));
    }
    expect(admitted).toBeGreaterThanOrEqual(100);
    expect(admitted).toBeLessThanOrEqual(100 + 3 * 5);
  });

  it('hears after a second of an idle replica what the others used', async () => {
    time = start;
    const shared = createShared();
    const [busy, idle] = [create({ addShared: shared.add }), create({ addShared: shared.add })];
    busy.use(50);
    await busy.settled();
    time += 1_000;
    idle.refresh();
    await idle.settled();
    expect(idle.left()).toBe(50);
  });

  it('hears of the others also where the clock was put back', async () => {
    time = start + 3_600_000;
    const shared = createShared();
    const [one, two] = [0, 1].map(() => create({ addShared: shared.add, windowMs: 86_400_000 })) as [Meter, Meter];
    one.refresh();
    await one.settled();
    time = start;
    two.use(40);
    await two.settled();
    one.refresh();
    await one.settled();
    expect(one.left()).toBe(60);
  });

  it('goes on alone while the store is down, says so, and tells all of it afterwards', async () => {
    time = start;
    const shared = createShared();
    const errors: unknown[] = [];
    const meter = create({ addShared: shared.add, onStoreError: (error) => errors.push(error) });
    shared.isDown = true;
    meter.use(5);
    await meter.settled();
    expect(errors.length).toBeGreaterThan(0);
    expect(meter.left()).toBe(95);
    shared.isDown = false;
    time += 1_000;
    meter.use(1);
    await meter.settled();
    expect([...shared.counts.values()]).toEqual([6]);
    expect(meter.left()).toBe(94);
  });

  it('leaves an answer that comes after the end of its window aside', async () => {
    time = start;
    let answer: (total: number) => void = () => undefined;
    const meter = create({ addShared: () => new Promise((resolve) => (answer = resolve)) });
    meter.use(10);
    time += 60_000;
    meter.left();
    answer(90);
    await meter.settled();
    expect(meter.left()).toBe(100);
  });
});
