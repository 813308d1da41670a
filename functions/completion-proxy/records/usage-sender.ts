import { UpstreamError } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Store } from '#shared/store/store.ts';
import type { UsageRecord } from '#shared/usage.ts';
import { batchSize, recordStream, unpackRecords } from './batch.ts';
import { toUsageRecord } from './record.ts';

export interface UsageSenderOptions {
  store: Pick<Store, 'kv' | 'log' | 'lease'>;
  /** Posts one batch; throws UpstreamError. */
  post: (records: UsageRecord[]) => Promise<void>;
  log: Logger;
  /** Told of records that the receiver refused for good. */
  onLost: (records: number) => void;
  /** Between two looks, in ms. */
  everyMs?: number;
}

const cursorKey = 'usage-sent';

/** The cursor of the last batch that the receiver took. */
export const readSentUpTo = async ({ kv }: Pick<Store, 'kv'>) => (await kv.get(cursorKey)) as string | undefined;

const leaseMs = 120_000;
/** A post holds a thousand records at most. */
const entriesPerPost = 1_000 / batchSize;
const maxBackoffMs = 60_000;

/** The receiver looked at the batch and will never take it; everything else may be well again. */
const isRefusal = (error: unknown) =>
  error instanceof UpstreamError && (error.status === 400 || error.status === 413 || error.status === 422);

/**
 * Sends what history holds as usage records, in order, at least once: the place up to which a receiver has taken them is
 * noted in the store after each post, and one replica sends at a time. A batch that is refused is halved until the record
 * that is at fault stands alone; that one is given up.
 */
export function createUsageSender({ store, post, log, onLost, everyMs = 2_000 }: UsageSenderOptions) {
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  let failures = 0;
  let isClosed = false;

  async function send(records: UsageRecord[]): Promise<void> {
    if (records.length === 0) return;
    try {
      await post(records);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (records.length === 1) {
        log.error('a usage record was refused and is given up', { id: records[0]!.id, error });
        onLost(1);
        return;
      }
      const half = Math.ceil(records.length / 2);
      await send(records.slice(0, half));
      await send(records.slice(half));
    }
  }

  async function sendAll(): Promise<void> {
    const lease = await store.lease('usage-sender', leaseMs);
    if (lease === null) return;
    try {
      let cursor = await readSentUpTo(store);
      while (!isClosed) {
        const { entries } = await store.log.page(recordStream, { after: cursor, limit: entriesPerPost });
        if (entries.length === 0) return;
        const records = entries.flatMap(({ value }) => unpackRecords(value));
        await send(records.map(toUsageRecord).filter((record) => record !== undefined));
        cursor = entries.at(-1)!.cursor;
        await store.kv.put(cursorKey, cursor);
        if (!(await lease.renew())) return;
      }
    } finally {
      await lease.release();
    }
  }

  function run(): Promise<void> {
    running ??= sendAll()
      .then(
        () => {
          failures = 0;
        },
        (error: unknown) => {
          failures += 1;
          log.warn('usage records wait: they could not be sent', { failures, error });
        },
      )
      .finally(() => {
        running = undefined;
        schedule();
      });
    return running;
  }

  function schedule() {
    if (isClosed) return;
    const waitMs = failures === 0 ? everyMs : Math.min(maxBackoffMs, everyMs * 2 ** failures);
    timer = setTimeout(() => void run(), waitMs).unref();
  }

  return {
    start: schedule,
    /** Sends what is there, now; settles without throwing. */
    run,
    async close() {
      clearTimeout(timer);
      await running;
      isClosed = true;
      clearTimeout(timer);
    },
  };
}
