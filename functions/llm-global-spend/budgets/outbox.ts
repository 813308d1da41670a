import { UpstreamError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import type { Lease, Store } from '#shared/store/store.ts';
import type { Alert, DueAlert } from './alert.ts';
import type { PostAlert } from './webhook.ts';

const stream = 'alerts';
const cursorKey = 'alerts/cursor';
const sentKey = (id: string) => `alerts/sent/${id}`;
const toldKey = (mark: string) => `alerts/told/${mark}`;
// Far longer than a month's period and its late rows.
const rememberedMs = 100 * 86_400_000;

export interface Outbox {
  /** The marks among these that were told already. */
  told(marks: string[]): Promise<Set<string>>;
  /** When a threshold was told, as ISO; null before. A queued alert counts: it will be delivered. */
  toldAt(mark: string): Promise<string | null>;
  queue(due: DueAlert): Promise<void>;
  /** Posts what is queued, oldest first; resolves with how many were sent and how many wait for the next tick. */
  deliver(call: {
    post: PostAlert;
    lease: Lease;
    signal: AbortSignal;
    log: Logger;
  }): Promise<{ sent: number; waiting: number }>;
  waiting(): Promise<Alert[]>;
}

/**
 * Alerts between the decision and the receiver's 2xx. The queue is an append-only log, so that two replicas can never
 * overwrite each other's entries; an entry is done when its id is marked as sent. A crash between two steps repeats a
 * step and loses none: an alert is queued before its marks are set, and posted before it is marked as sent.
 */
export function createOutbox({ kv, log: entries }: Pick<Store, 'kv' | 'log'>, now: () => number): Outbox {
  async function* pending(): AsyncGenerator<{ alert: Alert; cursor: string; sent: boolean; at: number }> {
    let after = (await kv.get(cursorKey)) as string | undefined;
    do {
      const page = await entries.page(stream, { after });
      for (const { value, cursor, at } of page.entries) {
        const alert = value as Alert;
        yield { alert, cursor, at, sent: (await kv.get(sentKey(alert.id))) !== undefined };
      }
      after = page.next;
    } while (after !== undefined);
  }

  const toldAt = async (mark: string) => ((await kv.get(toldKey(mark))) as string | undefined) ?? null;

  return {
    toldAt,
    async told(marks) {
      const times = await Promise.all(marks.map(toldAt));
      return new Set(marks.filter((_, at) => times[at] !== null));
    },
    async queue({ alert, marks }) {
      await entries.append(stream, alert);
      for (const mark of marks) {
        await kv.put(toldKey(mark), new Date(now()).toISOString(), { ttlMs: rememberedMs });
      }
    },
    async waiting() {
      const waiting: Alert[] = [];
      for await (const { alert, sent } of pending()) if (!sent) waiting.push(alert);
      return waiting;
    },
    async deliver({ post, lease, signal, log }) {
      const count = { sent: 0, waiting: 0 };
      let allBefore = true;
      let isDown = false;
      for await (const { alert, cursor, sent, at } of pending()) {
        if (!sent && !isDown) {
          // Another replica may hold it by now, and posts this one itself.
          if (!(await lease.renew())) return count;
          try {
            await post(alert, signal);
            await kv.put(sentKey(alert.id), new Date(now()).toISOString(), { ttlMs: rememberedMs });
            count.sent += 1;
          } catch (error) {
            if (!(error instanceof UpstreamError)) throw error;
            log.warn('alert not delivered, the next tick tries again', { alert: alert.id, error });
            // A receiver that refuses one alert (4xx) may take the others; one that is away takes none.
            isDown = error.failure !== 'status' || error.status === 429 || (error.status ?? 500) >= 500;
            count.waiting += 1;
            allBefore = false;
          }
        } else if (!sent) {
          count.waiting += 1;
          allBefore = false;
        }
        if (allBefore) {
          await kv.put(cursorKey, cursor);
          // A day's margin: the clocks of two replicas may differ, and what is still to be sent comes after the cursor.
          await entries.prune(stream, at - 86_400_000);
        }
      }
      return count;
    },
  };
}
