import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openStore } from '#shared/store/open.ts';
import { createPostgresEngine } from '#shared/store/postgres.ts';
import { createStore } from '#shared/store/store.ts';
import { describeStore, now } from '../../support/store-contract.ts';

const directory = mkdtempSync(join(tmpdir(), 'store-test-'));
const database = new PGlite();
const postgres = createPostgresEngine(async () => ({
  query: (text, params) => database.query<Record<string, unknown>>(text, params),
  close: async () => undefined,
}));

// PGlite compiles a whole PostgreSQL at its start: seconds on a busy machine.
beforeAll(() => database.waitReady, 60_000);

afterAll(async () => {
  await database.close();
  rmSync(directory, { recursive: true });
});

describeStore('SQLite', (name) => openStore({ name: `s-${name}`, directory, now }), false);
describeStore('PostgreSQL', (name) => createStore(postgres, { name, now }), true);

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
