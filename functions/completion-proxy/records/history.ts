import type { Logger } from '#shared/log.ts';
import type { Store } from '#shared/store/store.ts';
import { batchSize, packRecords, recordStream, unpackRecords } from './batch.ts';
import type { CallRecord } from './record.ts';

export interface HistoryOptions {
  store: Pick<Store, 'log'>;
  log: Logger;
  now: () => number;
  /** Older records are dropped. */
  keepMs: number;
  /** Of those, the newest so many are kept. */
  keepRecords: number;
  /** Told of records that were given up. */
  onLost: (records: number) => void;
  /** Where records are sent from here: those that nobody took yet are not dropped for being many, until they are too many. */
  sending?: { sentUpTo: () => Promise<string | undefined>; onLost: (records: number) => void } | undefined;
  flushMs?: number;
  /** Records that wait for a store that is down, 10,000 by default; beyond it the oldest are given up. */
  maxWaiting?: number | undefined;
}

export interface HistoryQuery {
  /** ms since 1970, inclusive; the start of the call counts. */
  since?: number;
  until?: number;
  caller?: string;
  model?: string;
  status?: number;
  outcome?: string;
  /** Somewhere in the record, in any case. */
  text?: string;
  limit: number;
  /** Where the page before ended. */
  cursor?: string;
}

export interface HistoryPage {
  /** Newest first; fewer than the limit, and yet a `next`, where little matches. */
  records: CallRecord[];
  next: string | null;
}

export interface History {
  /** A sink of the recorder: never waits and never throws. */
  add(record: CallRecord): void;
  find(query: HistoryQuery): Promise<HistoryPage>;
  /** Calls with every new record until it is told to stop. */
  follow(listener: (record: CallRecord) => void): () => void;
  /** Writes what waits. */
  close(): Promise<void>;
}

const pageEntries = 20;
/** Where little matches, a page of history looks through so many pages of the store, and the next goes on from there. */
const maxPages = 25;
const pruneEveryMs = 10 * 60_000;
/** A replica that is soon stopped again prunes as well: before its first minute is over nobody has to wait for it. */
const firstPruneMs = 60_000;
/** Of `keepRecords`: what waits for a receiver may be so many times as much. */
const unsentFactor = 10;

export function matches(record: CallRecord, query: HistoryQuery): boolean {
  const startedAt = Date.parse(record.started_at);
  if (query.since !== undefined && startedAt < query.since) return false;
  if (query.until !== undefined && startedAt > query.until) return false;
  if (query.caller !== undefined && record.caller !== query.caller) return false;
  if (query.model !== undefined && record.model !== query.model && record.requested_model !== query.model) return false;
  if (query.status !== undefined && record.status !== query.status) return false;
  if (query.outcome !== undefined && record.outcome !== query.outcome) return false;
  return query.text === undefined || JSON.stringify(record).toLowerCase().includes(query.text.toLowerCase());
}

/**
 * The records of calls, written in batches behind the calls' backs: one entry of the store's log holds up to two hundred.
 * A store that is down costs records, never calls: they wait, and what does not fit any more is counted as lost.
 */
export function createHistory(options: HistoryOptions): History {
  const { store, log, now, keepMs, keepRecords, onLost, sending, flushMs = 1_000, maxWaiting = 10_000 } = options;
  const listeners = new Set<(record: CallRecord) => void>();
  let waiting: CallRecord[] = [];
  /** Of the batch that is being written: those at its front that were given up meanwhile. */
  let givenUp = 0;
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> | undefined;
  let isDown = false;
  let prunedAt = now() + firstPruneMs - pruneEveryMs;
  let hasPruned = false;
  let hasWritten = false;

  async function write() {
    while (waiting.length > 0) {
      const batch = waiting.slice(0, batchSize);
      givenUp = 0;
      try {
        await store.log.append(recordStream, packRecords(batch));
      } catch (error) {
        if (!isDown) log.error('the store takes no records: they wait', { error });
        isDown = true;
        return;
      }
      if (isDown) log.info('the store takes records again');
      isDown = false;
      hasWritten = true;
      waiting = waiting.slice(Math.max(0, batch.length - givenUp));
    }
    if (now() - prunedAt >= pruneEveryMs) await tryPrune();
  }

  const tryPrune = () => prune().catch((error) => log.warn('history was not pruned', { error }));

  async function prune() {
    prunedAt = now();
    hasPruned = true;
    await store.log.prune(recordStream, now() - keepMs);
    const sent = Number(sending === undefined ? Number.POSITIVE_INFINITY : ((await sending.sentUpTo()) ?? 0));
    let kept = 0;
    let unsent = 0;
    let before: number | undefined;
    let after: string | undefined;
    do {
      const { entries, next } = await store.log.page(recordStream, { newestFirst: true, after, limit: pageEntries });
      for (const { at, cursor, value } of entries) {
        const records = unpackRecords(value).length;
        const isSent = Number(cursor) <= sent;
        if (before !== undefined && at < before && !isSent) unsent += records;
        kept += records;
        if (kept >= keepRecords && (isSent || kept >= unsentFactor * keepRecords)) before ??= at;
        if (before !== undefined && isSent) break;
      }
      after = before !== undefined && Number(entries.at(-1)?.cursor ?? 0) <= sent ? undefined : next;
    } while (after !== undefined);
    if (before !== undefined) await store.log.prune(recordStream, before);
    if (unsent === 0) return;
    log.error('usage records were given up: no receiver took them for too long', { records: unsent });
    sending?.onLost(unsent);
  }

  function flush(): Promise<void> {
    writing ??= write().finally(() => {
      writing = undefined;
      if (waiting.length > 0) schedule();
    });
    return writing;
  }

  function schedule() {
    timer ??= setTimeout(() => {
      timer = undefined;
      void flush();
    }, flushMs).unref();
  }

  return {
    add(record) {
      waiting.push(record);
      if (waiting.length > maxWaiting) {
        const lost = waiting.length - maxWaiting;
        waiting.splice(0, lost);
        givenUp += lost;
        onLost(lost);
      }
      // A full batch goes at once: what lives for a second is moved about by the garbage collector.
      if (waiting.length >= batchSize && !isDown && writing === undefined) void flush();
      else schedule();
      for (const listener of listeners) listener(record);
    },

    async find(query) {
      if (query.cursor === undefined) await flush();
      const records: CallRecord[] = [];
      // What is too old is not shown, though it may lie there until somebody prunes again.
      const wanted = { ...query, since: Math.max(query.since ?? 0, now() - keepMs) };
      // `<entry>:<how many of its records are done>`; the entry is read again for the rest of it.
      const [entry, done = '0'] = query.cursor?.split(':') ?? [];
      let after = entry === undefined ? undefined : String(Number(entry) + 1);
      let skip = Number(done);
      let last: string | undefined;
      for (let pages = 0; pages < maxPages; pages += 1) {
        const page = await store.log.page(recordStream, { newestFirst: true, after, limit: pageEntries });
        for (const { cursor, value } of page.entries) {
          const newestFirst = unpackRecords(value).toReversed();
          for (let index = skip; index < newestFirst.length; index += 1) {
            if (!matches(newestFirst[index]!, wanted)) continue;
            if (records.length === query.limit) return { records, next: `${cursor}:${index}` };
            records.push(newestFirst[index]!);
          }
          skip = 0;
          last = `${cursor}:${newestFirst.length}`;
        }
        if (page.next === undefined) return { records, next: null };
        after = page.next;
      }
      return { records, next: last ?? null };
    },

    follow(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },

    async close() {
      clearTimeout(timer);
      timer = undefined;
      await flush();
      clearTimeout(timer);
      if (!hasPruned && hasWritten && !isDown) await tryPrune();
    },
  };
}
