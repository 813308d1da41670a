import type { Engine } from './engine.ts';
import { createLeases, type Lease } from './lease.ts';

export type { Lease } from './lease.ts';

export interface PutOptions {
  /** Gone after this long; kept without it. */
  ttlMs?: number;
}

/** Values are JSON. A key that is not there, or whose time is over, reads as undefined. */
export interface KeyValue {
  get(key: string): Promise<unknown>;
  /** Those of many keys that are there, in one question: a year of days is one wait and not a year of waits. */
  getAll(keys: readonly string[]): Promise<Map<string, unknown>>;
  put(key: string, value: unknown, options?: PutOptions): Promise<void>;
  /** True when this call wrote it; of many at once exactly one does. */
  putIfAbsent(key: string, value: unknown, options?: PutOptions): Promise<boolean>;
  /**
   * Adds to a number, which begins at 0, and resolves with the sum; of many at once none is lost. Whole numbers below
   * 2 ** 53. The time of `ttlMs` begins with the first of them.
   */
  add(key: string, amount: number, options?: PutOptions): Promise<number>;
}

export interface LogEntry {
  /** A whole number as text; later entries have larger ones. */
  cursor: string;
  /** When it was appended, ms since 1970. */
  at: number;
  value: unknown;
}

/** Entries in the order of their arrival, in streams of their own. */
export interface Log {
  append(stream: string, value: unknown): Promise<string>;
  /**
   * The entries after a cursor (from the first one without it), `limit` at most, 100 by default. `next` while there may be
   * more. With `newestFirst` from the newest one back, and `after` is the cursor of the page before.
   */
  page(
    stream: string,
    options?: { after?: string | undefined; limit?: number; newestFirst?: boolean },
  ): Promise<{ entries: LogEntry[]; next?: string }>;
  /** Drops what was appended before that time (exclusive); resolves with how many. */
  prune(stream: string, beforeMs: number): Promise<number>;
}

export interface Store {
  /** False for the file in the temporary folder: it is a cache, gone with the replica and seen by no other. */
  readonly durable: boolean;
  readonly kv: KeyValue;
  readonly log: Log;
  /** Null while another holds it. It ends by itself after `ttlMs`: renew it during longer work. */
  lease(name: string, ttlMs: number): Promise<Lease | null>;
  /** Releases file or connections; a later call opens them again. */
  close(): Promise<void>;
}

const keep = 'kv.expires_at IS NULL OR kv.expires_at > ';
// Expired rows are read as absent; they are removed now and then so that they do not pile up.
const sweepEvery = 256;

/** The three parts of a store over one SQL engine. `name` keeps functions that share a database apart. */
export function createStore(engine: Engine, options: { name: string; now?: () => number }): Store {
  const { name, now = Date.now } = options;
  const scoped = (key: string) => `${name}/${key}`;
  const expiry = (ttlMs: number | undefined) => (ttlMs === undefined ? null : now() + ttlMs);
  let writes = 0;

  async function sweep() {
    if (writes++ % sweepEvery === 0) await engine.query('DELETE FROM kv WHERE expires_at <= $1', [now()]);
  }

  const kv: KeyValue = {
    async get(key) {
      const [row] = await engine.query(`SELECT value FROM kv WHERE key = $1 AND (${keep}$2)`, [scoped(key), now()]);
      return row === undefined ? undefined : JSON.parse(String(row.value));
    },
    async getAll(keys) {
      const rows = await engine.query(`SELECT key, value FROM kv WHERE key IN (${engine.listed}) AND (${keep}$2)`, [
        JSON.stringify(keys.map(scoped)),
        now(),
      ]);
      return new Map(rows.map(({ key, value }) => [String(key).slice(name.length + 1), JSON.parse(String(value))]));
    },
    async put(key, value, { ttlMs } = {}) {
      await sweep();
      await engine.query(
        `INSERT INTO kv (key, value, expires_at) VALUES ($1, $2, $3)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at`,
        [scoped(key), JSON.stringify(value), expiry(ttlMs)],
      );
    },
    async putIfAbsent(key, value, { ttlMs } = {}) {
      await sweep();
      const written = await engine.query(
        `INSERT INTO kv (key, value, expires_at) VALUES ($1, $2, $3)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
         WHERE kv.expires_at <= $4 RETURNING key`,
        [scoped(key), JSON.stringify(value), expiry(ttlMs), now()],
      );
      return written.length === 1;
    },
    async add(key, amount, { ttlMs } = {}) {
      await sweep();
      const [row] = await engine.query(
        `INSERT INTO kv (key, value, expires_at) VALUES ($1, $2, $3)
         ON CONFLICT (key) DO UPDATE SET
           value = CASE WHEN kv.expires_at <= $4 THEN excluded.value
             ELSE CAST(CAST(kv.value AS BIGINT) + CAST(excluded.value AS BIGINT) AS TEXT) END,
           expires_at = CASE WHEN kv.expires_at <= $4 THEN excluded.expires_at ELSE kv.expires_at END
         RETURNING value`,
        [scoped(key), String(amount), expiry(ttlMs), now()],
      );
      return Number(row?.value);
    },
  };

  const log: Log = {
    async append(stream, value) {
      const [row] = await engine.query(engine.append, [scoped(stream), now(), JSON.stringify(value)]);
      return String(row?.seq);
    },
    async page(stream, { after, limit = 100, newestFirst = false } = {}) {
      const from = newestFirst ? `seq < $2 ORDER BY seq DESC` : `seq > $2 ORDER BY seq`;
      const rows = await engine.query(`SELECT seq, at, value FROM log WHERE stream = $1 AND ${from} LIMIT $3`, [
        scoped(stream),
        after === undefined ? (newestFirst ? Number.MAX_SAFE_INTEGER : 0) : Number(after),
        limit,
      ]);
      const entries = rows.map(({ seq, at, value }) => ({
        cursor: String(seq),
        at: Number(at),
        value: JSON.parse(String(value)) as unknown,
      }));
      const last = entries.at(-1);
      return last !== undefined && entries.length === limit ? { entries, next: last.cursor } : { entries };
    },
    async prune(stream, beforeMs) {
      const gone = await engine.query('DELETE FROM log WHERE stream = $1 AND at < $2 RETURNING seq', [
        scoped(stream),
        beforeMs,
      ]);
      return gone.length;
    },
  };

  const lease = createLeases(engine, { scoped, now });
  return { durable: engine.durable, kv, log, lease, close: () => engine.close() };
}
