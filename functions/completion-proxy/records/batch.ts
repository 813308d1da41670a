import type { CallRecord } from './record.ts';

/** The store's log of records; an entry of it is a batch. */
export const recordStream = 'calls';

/** Records of a batch at most. */
export const batchSize = 200;

/**
 * A batch as it lies in the store: a column for each member, and where all records say the same, it stands there once.
 * Most calls of a second are alike in most of them, so that it is half the bytes, and half the time to write them.
 */
interface Packed {
  count: number;
  columns: Record<string, unknown[]>;
}

/** The records of one batch have the same members: whether content is kept is settled at start. */
export function packRecords(records: readonly CallRecord[]): Packed {
  const columns: Packed['columns'] = {};
  for (const name of Object.keys(records[0] ?? {}) as (keyof CallRecord)[]) {
    const first = records[0]![name];
    const isOne = records.every((record) => record[name] === first);
    columns[name] = isOne ? [first] : records.map((record) => record[name]);
  }
  return { count: records.length, columns };
}

export function unpackRecords(entry: unknown): CallRecord[] {
  const { count, columns } = entry as Packed;
  const entries = Object.entries(columns);
  return Array.from({ length: count }, (_, at) => {
    const members = entries.map(([name, values]) => [name, values.length === 1 ? values[0] : values[at]]);
    return Object.fromEntries(members) as CallRecord;
  });
}
