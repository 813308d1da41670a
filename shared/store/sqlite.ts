import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { type Engine, tables } from './engine.ts';

/** The store's statements are a dozen; a bound holds should somebody build them from values one day. */
const maxPrepared = 100;

/** SQLite in one file, opened with the first call. Several processes of one machine may share the file. */
export function createSqliteEngine(path: string): Engine {
  let opening: Promise<DatabaseSync> | undefined;
  const prepared = new Map<string, StatementSync>();

  async function open(): Promise<DatabaseSync> {
    const [{ DatabaseSync }, { closeSync, openSync }] = await Promise.all([import('node:sqlite'), import('node:fs')]);
    // The temporary folder is everybody's: the file is its owner's alone from its first moment.
    closeSync(openSync(path, 'a', 0o600));
    const database = new DatabaseSync(path, { timeout: 5_000 });
    // The file is a cache that is gone with the replica: a call must not wait for the disk under it.
    database.exec('PRAGMA synchronous = OFF');
    // Entries of a log are batches of many kilobytes: they lie in fewer pages, which are written in fewer calls.
    database.exec('PRAGMA page_size = 16384');
    database.exec('PRAGMA journal_mode = WAL');
    for (const statement of tables('INTEGER PRIMARY KEY AUTOINCREMENT')) database.exec(statement);
    return database;
  }

  return {
    durable: false,
    listed: 'SELECT value FROM json_each($1)',
    append: 'INSERT INTO log (stream, at, value) VALUES ($1, $2, $3) RETURNING seq',
    async query(text, params) {
      opening ??= open();
      opening.catch(() => {
        opening = undefined;
      });
      const database = await opening;
      let statement = prepared.get(text);
      if (statement === undefined) {
        if (prepared.size >= maxPrepared) prepared.clear();
        statement = database.prepare(text);
        prepared.set(text, statement);
      }
      const named = Object.fromEntries(params.map((value, index) => [`$${index + 1}`, value as SQLInputValue]));
      return statement.all(named);
    },
    async close() {
      const opened = await opening?.catch(() => undefined);
      opening = undefined;
      prepared.clear();
      opened?.close();
    },
  };
}
