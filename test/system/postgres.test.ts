import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openStore } from '#shared/store/open.ts';
import type { Store } from '#shared/store/store.ts';
import { startPostgres } from '../support/postgres-server.ts';
import { describeStore, now } from '../support/store-contract.ts';

let server: Awaited<ReturnType<typeof startPostgres>>;
const opened: Store[] = [];
function open(name: string): Store {
  const store = openStore({ name, url: server.url, now });
  opened.push(store);
  return store;
}

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await Promise.all(opened.map((store) => store.close()));
  await server.stop();
});

describeStore('a real PostgreSQL', open, true);

describe('several replicas on a real PostgreSQL', () => {
  test('make the tables together, add without losing any, and give a lease to one', async () => {
    const replicas = Array.from({ length: 5 }, () => open('replicas'));
    const sums = await Promise.all(replicas.flatMap((store) => Array.from({ length: 20 }, () => store.kv.add('n', 1))));
    expect(new Set(sums).size).toBe(100);
    expect(await replicas[0]!.kv.get('n')).toBe(100);
    const leases = await Promise.all(replicas.map((store) => store.lease('one', 60_000)));
    expect(leases.filter((lease) => lease !== null)).toHaveLength(1);
  });

  test('start while others append, and neither waits for the other for ever', async () => {
    await Promise.all(
      Array.from({ length: 60 }, async (_, i) => {
        const store = open('starting');
        // Half of them have their tables made while the other half appends.
        if (i % 2 === 0) await store.log.append('calls', i);
        else await store.kv.get('nothing');
        for (let n = 0; n < 5; n += 1) await store.log.append('calls', n);
      }),
    );
    expect((await open('starting').log.page('calls', { limit: 1_000 })).entries).toHaveLength(330);
  });

  test('append to one stream without a reader that pages along missing an entry', async () => {
    const replicas = Array.from({ length: 4 }, () => open('pages'));
    const seen: unknown[] = [];
    let isWriting = true;
    const reading = (async () => {
      let after: string | undefined;
      for (let last = false; !last; ) {
        last = !isWriting;
        for (;;) {
          const { entries } = await replicas[0]!.log.page('calls', { after, limit: 7 });
          if (entries.length === 0) break;
          seen.push(...entries.map(({ value }) => value));
          after = entries.at(-1)!.cursor;
        }
      }
    })();
    await Promise.all(
      replicas.flatMap((store, replica) =>
        Array.from({ length: 50 }, (_, i) => store.log.append('calls', replica * 1000 + i)),
      ),
    );
    isWriting = false;
    await reading;
    expect(seen).toHaveLength(200);
    expect(new Set(seen).size).toBe(200);
  });
});
