import { UpstreamError } from '../errors.ts';
import { type Engine, type Queryable, tables } from './engine.ts';

/**
 * Any two numbers, the same for all of us: who makes the tables takes turns by the one, who appends by the other. By the
 * same one they would wait for each other: an INSERT has its lock on the table before its turn, and CREATE INDEX wants it.
 */
const setupTurn = 7_301_146;
const appendTurn = 7_301_147;

const setup = `DO $setup$ BEGIN
  PERFORM pg_advisory_xact_lock(${setupTurn});
  ${tables('BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY').join(';\n  ')};
END $setup$`;

// Numbers are drawn before they are committed: without turns a reader could pass a number whose row appears later.
const append = `INSERT INTO log (stream, at, value)
  SELECT $1, $2::bigint, $3 FROM (SELECT pg_advisory_xact_lock(${appendTurn})) AS turn RETURNING seq`;

export type OpenDatabase = () => Promise<Queryable & { close(): Promise<void> }>;

/** A pool by `pg`, loaded with the first call. */
export function openPool(url: string): OpenDatabase {
  return async () => {
    const { default: pg } = await import('pg');
    const pool = new pg.Pool({
      connectionString: url,
      max: 4,
      connectionTimeoutMillis: 5_000,
      query_timeout: 10_000,
      idleTimeoutMillis: 30_000,
      allowExitOnIdle: true,
    });
    // An idle connection that breaks is replaced by the next call; without a listener it would end the process.
    pool.on('error', () => undefined);
    return { query: (text, params) => pool.query(text, params), close: () => pool.end() };
  };
}

/** PostgreSQL through anything that takes one statement with `$1` parameters. Throws UpstreamError. */
export function createPostgresEngine(openDatabase: OpenDatabase): Engine {
  let opening: ReturnType<OpenDatabase> | undefined;

  async function open() {
    const database = await openDatabase();
    try {
      await database.query(setup, []);
      return database;
    } catch (error) {
      await database.close();
      throw error;
    }
  }

  return {
    durable: true,
    append,
    listed: 'SELECT json_array_elements_text($1::json)',
    async query(text, params) {
      try {
        opening ??= open();
        const database = await opening.catch((error) => {
          opening = undefined;
          throw error;
        });
        return (await database.query(text, params)).rows;
      } catch (error) {
        throw new UpstreamError('PostgreSQL', 'network', (error as Error).message, {
          advice: 'check STORE_URL and the database',
        });
      }
    },
    async close() {
      const opened = await opening?.catch(() => undefined);
      opening = undefined;
      await opened?.close();
    },
  };
}
