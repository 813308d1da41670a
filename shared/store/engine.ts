/** What the store asks of a database: one statement, `$1` parameters, rows. */
export interface Queryable {
  query(text: string, params: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
}

export interface Engine {
  durable: boolean;
  /** The statement that appends (stream, at, value) to `log` and returns `seq`. */
  append: string;
  /** The select that makes rows of the JSON list of texts in $1. */
  listed: string;
  query(text: string, params: unknown[]): Promise<Record<string, unknown>[]>;
  close(): Promise<void>;
}

/** The tables in both dialects; only the key that counts itself up is spelt differently. */
export const tables = (countingKey: string) => [
  'CREATE TABLE IF NOT EXISTS kv (key TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at BIGINT)',
  `CREATE TABLE IF NOT EXISTS log (seq ${countingKey}, stream TEXT NOT NULL, at BIGINT NOT NULL, value TEXT NOT NULL)`,
  'CREATE INDEX IF NOT EXISTS log_stream_seq ON log (stream, seq)',
  'CREATE TABLE IF NOT EXISTS lease (name TEXT PRIMARY KEY, holder TEXT NOT NULL, expires_at BIGINT NOT NULL)',
];
