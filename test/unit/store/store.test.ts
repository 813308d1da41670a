import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openStore } from '#shared/store/open.ts';
import { createPostgresEngine } from '#shared/store/postgres.ts';
import { createStore, type Store } from '#shared/store/store.ts';

let time = 1_800_000_000_000;
const now = () => time;
const directory = mkdtempSync(join(tmpdir(), 'store-test-'));
const database = new PGlite();
const postgres = createPostgresEngine(async () => ({
  query: (text, params) => database.query<Record<string, unknown>>(text, params),
  close: async () => undefined,
}));

const engines: [string, (name: string) => Store][] = [
  ['SQLite', (name) => openStore({ name: `s-${name}`, directory, now })],
  ['PostgreSQL', (name) => createStore(postgres, { name, now })],
];

// PGlite compiles a whole PostgreSQL at its start: seconds on a busy machine.
beforeAll(() => database.waitReady, 60_000);

afterAll(async () => {
  await database.close();
  rmSync(directory, { recursive: true });
});

describe.each(engines)('%s', (kind, open) => {
  let store: Store;
  let count = 0;
  beforeEach(() => {
    time = 1_800_000_000_000;
    store = open(`t${count++}`);
  });

  test('keeps JSON values under a key and answers undefined for one that is not there', async () => {
    expect(await store.kv.get('a')).toBeUndefined();
    await store.kv.put('a', { list: [1, 'zwei', null], quote: "it's" });
    expect(await store.kv.get('a')).toEqual({ list: [1, 'zwei', null], quote: "it's" });
    await store.kv.put('a', 2);
    expect(await store.kv.get('a')).toBe(2);
  });

  test('forgets a key at the end of its time, which a later put without one takes away', async () => {
    await store.kv.put('a', 1, { ttlMs: 1000 });
    await store.kv.put('b', 1, { ttlMs: 1000 });
    await store.kv.put('b', 2);
    time += 999;
    expect(await store.kv.get('a')).toBe(1);
    time += 1;
    expect(await store.kv.get('a')).toBeUndefined();
    expect(await store.kv.get('b')).toBe(2);
  });

  test('lets exactly one of many write an absent key, and the next one after its time', async () => {
    const wins = await Promise.all(Array.from({ length: 20 }, (_, i) => store.kv.putIfAbsent('k', i, { ttlMs: 50 })));
    expect(wins.filter(Boolean)).toHaveLength(1);
    expect(await store.kv.get('k')).toBe(wins.indexOf(true));
    time += 50;
    expect(await store.kv.putIfAbsent('k', 'later')).toBe(true);
    time += 1e9;
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
    time += 10;
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
    time += 900;
    expect(await held?.renew()).toBe(true);
    time += 900;
    expect(await store.lease('run', 1000)).toBeNull();
    await held?.release();
    const second = await store.lease('run', 1000);
    expect(second).not.toBeNull();
    time += 1000;
    const third = await store.lease('run', 1000);
    expect(third).not.toBeNull();
    expect(await second?.renew()).toBe(false);
    await second?.release();
    expect(await store.lease('run', 1000)).toBeNull();
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
    expect(store.durable).toBe(kind === 'PostgreSQL');
  });
});

test('writes the SQLite file with the first call, for its owner alone, and finds it again after close', async () => {
  const store = openStore({ name: 'lazy', directory });
  const path = join(directory, 'openfaas-lazy.sqlite');
  expect(() => statSync(path)).toThrow();
  await store.kv.put('a', 1);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await store.close();
  expect(await store.kv.get('a')).toBe(1);
  await store.close();
});

test('throws UpstreamError without the connection string when the database cannot be reached, and tries again', async () => {
  let attempts = 0;
  const engine = createPostgresEngine(async () => {
    attempts++;
    throw new Error('connect ECONNREFUSED');
  });
  const store = createStore(engine, { name: 'x' });
  await expect(store.kv.get('a')).rejects.toMatchObject({ service: 'PostgreSQL', failure: 'network' });
  await expect(store.kv.get('a')).rejects.toMatchObject({ service: 'PostgreSQL' });
  expect(attempts).toBe(2);
});
