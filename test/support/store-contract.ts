import { beforeEach, describe, expect, test } from 'vitest';
import type { Store } from '#shared/store/store.ts';

/** The clock of every store under test. */
export const clock = { time: 1_800_000_000_000 };
export const now = () => clock.time;

/** What a store promises, whatever stands behind it. `open` gives stores that share one database. */
export function describeStore(kind: string, open: (name: string) => Store, isDurable: boolean) {
  describe(kind, () => {
    let store: Store;
    let count = 0;
    beforeEach(() => {
      clock.time = 1_800_000_000_000;
      store = open(`t${count++}`);
    });

    test('keeps JSON values under a key and answers undefined for one that is not there', async () => {
      expect(await store.kv.get('a')).toBeUndefined();
      await store.kv.put('a', { list: [1, 'zwei', null], quote: "it's" });
      expect(await store.kv.get('a')).toEqual({ list: [1, 'zwei', null], quote: "it's" });
      await store.kv.put('a', 2);
      expect(await store.kv.get('a')).toBe(2);
    });

    test('gives those of many keys that are there and whose time is not over, and nobody else’s', async () => {
      expect(await store.kv.getAll(['a', 'b'])).toEqual(new Map());
      await store.kv.put('a', { n: 1 });
      await store.kv.put("it's/ü", null);
      await store.kv.put('c', 3, { ttlMs: 10 });
      await store.kv.put('d', 4);
      await open('another').kv.put('e', 5);
      clock.time += 10;
      const found = await store.kv.getAll(['a', "it's/ü", 'c', 'e', 'nothing']);
      expect([...found].toSorted()).toEqual([
        ['a', { n: 1 }],
        ["it's/ü", null],
      ]);
      expect(await store.kv.getAll([])).toEqual(new Map());
    });

    test('forgets a key at the end of its time, which a later put without one takes away', async () => {
      await store.kv.put('a', 1, { ttlMs: 1000 });
      await store.kv.put('b', 1, { ttlMs: 1000 });
      await store.kv.put('b', 2);
      clock.time += 999;
      expect(await store.kv.get('a')).toBe(1);
      clock.time += 1;
      expect(await store.kv.get('a')).toBeUndefined();
      expect(await store.kv.get('b')).toBe(2);
    });

    test('lets exactly one of many write an absent key, and the next one after its time', async () => {
      const wins = await Promise.all(Array.from({ length: 20 }, (_, i) => store.kv.putIfAbsent('k', i, { ttlMs: 50 })));
      expect(wins.filter(Boolean)).toHaveLength(1);
      expect(await store.kv.get('k')).toBe(wins.indexOf(true));
      clock.time += 50;
      expect(await store.kv.putIfAbsent('k', 'later')).toBe(true);
      clock.time += 1e9;
      expect(await store.kv.putIfAbsent('k', 'too late')).toBe(false);
      expect(await store.kv.get('k')).toBe('later');
    });

    test('pages through a stream by cursor in the order of arrival', async () => {
      const cursors: string[] = [];
      for (let i = 0; i < 7; i++) {
        cursors.push(await store.log.append('calls', { i }));
        await store.log.append('other', 'x');
      }
      const seen: unknown[] = [];
      let after: string | undefined;
      do {
        const page = await store.log.page('calls', { after, limit: 3 });
        expect(page.entries.length).toBeLessThanOrEqual(3);
        seen.push(...page.entries.map(({ value }) => value));
        after = page.next;
      } while (after !== undefined);
      expect(seen).toEqual(Array.from({ length: 7 }, (_, i) => ({ i })));
      expect((await store.log.page('calls', { after: cursors[5] })).entries).toEqual([
        { cursor: cursors[6], at: now(), value: { i: 6 } },
      ]);
    });

    test('prunes what is older than a time and nothing of another stream', async () => {
      await store.log.append('calls', 1);
      await store.log.append('other', 1);
      clock.time += 10;
      await store.log.append('calls', 2);
      expect(await store.log.prune('calls', now())).toBe(1);
      expect((await store.log.page('calls')).entries.map(({ value }) => value)).toEqual([2]);
      expect((await store.log.page('other')).entries).toHaveLength(1);
    });

    test('gives a lease to one, and to the next one after release or the end of its time', async () => {
      const held = await store.lease('run', 1000);
      expect(held).not.toBeNull();
      expect(await store.lease('run', 1000)).toBeNull();
      expect(await store.lease('another', 1000)).not.toBeNull();
      clock.time += 900;
      expect(await held?.renew()).toBe(true);
      clock.time += 900;
      expect(await store.lease('run', 1000)).toBeNull();
      await held?.release();
      const second = await store.lease('run', 1000);
      expect(second).not.toBeNull();
      clock.time += 1000;
      const third = await store.lease('run', 1000);
      expect(third).not.toBeNull();
      expect(await second?.renew()).toBe(false);
      await second?.release();
      expect(await store.lease('run', 1000)).toBeNull();
    });

    test('adds to a number that many write at once, from 0, and forgets it at the end of its time', async () => {
      const sums = await Promise.all(Array.from({ length: 20 }, () => store.kv.add('n', 3, { ttlMs: 1000 })));
      expect(sums.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => 3 * (i + 1)));
      expect(await store.kv.add('n', 9_000_000_000_000_000)).toBe(9_000_000_000_000_060);
      expect(await store.kv.get('n')).toBe(9_000_000_000_000_060);
      clock.time += 1000;
      expect(await store.kv.add('n', -2)).toBe(-2);
    });

    test('pages backwards from the newest entry', async () => {
      for (let i = 0; i < 5; i++) await store.log.append('calls', i);
      const newest = await store.log.page('calls', { newestFirst: true, limit: 2 });
      expect(newest.entries.map(({ value }) => value)).toEqual([4, 3]);
      const older = await store.log.page('calls', { newestFirst: true, limit: 3, after: newest.next });
      expect(older.entries.map(({ value }) => value)).toEqual([2, 1, 0]);
      expect((await store.log.page('calls', { newestFirst: true, after: older.next })).entries).toEqual([]);
    });

    test('keeps the keys, streams and leases of two functions apart', async () => {
      const other = open(`other${count}`);
      await store.kv.put('a', 1);
      await store.log.append('calls', 1);
      await store.lease('run', 1000);
      expect(await other.kv.get('a')).toBeUndefined();
      expect((await other.log.page('calls')).entries).toEqual([]);
      expect(await other.lease('run', 1000)).not.toBeNull();
    });

    test('says whether what it keeps survives the replica', () => {
      expect(store.durable).toBe(isDurable);
    });
  });
}
