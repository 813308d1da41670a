import type { CallRecord } from './record.ts';

/** The store's log of records; an entry of it is a batch. */
export const recordStream = 'calls';

/** Records of a batch at most. */
export const batchSize = 200;

/** A batch as it lies in the store: the names once, then a row for each record. Half the bytes, and so half the time. */
interface Packed {
  names: (keyof CallRecord)[];
  rows: unknown[][];
}

/** The records of one batch have the same members: whether content is kept is settled at start. */
export function packRecords(records: readonly CallRecord[]): Packed {
  const names = Object.keys(records[0] ?? {}) as (keyof CallRecord)[];
  return { names, rows: records.map((record) => names.map((name) => record[name])) };
}

export function unpackRecords(entry: unknown): CallRecord[] {
  const { names, rows } = entry as Packed;
  return rows.map((row) => Object.fromEntries(names.map((name, at) => [name, row[at]])) as unknown as CallRecord);
}
