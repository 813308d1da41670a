import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPostgresEngine, openPool } from './postgres.ts';
import { createSqliteEngine } from './sqlite.ts';
import { createStore, type Store } from './store.ts';

export interface OpenStoreOptions {
  /** The function's name; its keys, streams and leases are its own, also in a shared database. */
  name: string;
  /** postgres://...; without it SQLite in the temporary folder, which is a cache. */
  url?: string | undefined;
  /** Where the SQLite file lies; os.tmpdir() by default. */
  directory?: string;
  now?: () => number;
}

/** A store that opens its file or its first connection with the first call. */
export function openStore({ name, url, directory = tmpdir(), now = Date.now }: OpenStoreOptions): Store {
  const engine =
    url === undefined
      ? createSqliteEngine(join(directory, `openfaas-${name}.sqlite`))
      : createPostgresEngine(openPool(url));
  return createStore(engine, { name, now });
}
