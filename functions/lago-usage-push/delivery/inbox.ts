import type { Store } from '#shared/store/store.ts';
import { type Call, digest, restoreCall, storeCall } from '../calls/call.ts';

const stream = 'inbox';
const hourMs = 3_600_000;
/** How long a record that was accepted is known as a duplicate. */
const knownForMs = 35 * 24 * hourMs;

/** Calls that somebody pushed to us, safe in the store until they are billed. */
export function createInbox({ kv, log }: Pick<Store, 'kv' | 'log'>) {
  const keyOf = ({ id }: Call) => `accepted/${digest(id)}`;
  return {
    /** Which of these were accepted before. */
    async findKnown(calls: Call[]): Promise<Set<string>> {
      const known = await Promise.all(calls.map((call) => kv.get(keyOf(call))));
      return new Set(calls.filter((_, index) => known[index] !== undefined).map(({ id }) => id));
    },
    /** One entry, so that all of them are safe or none is. */
    async accept(calls: Call[], options: { remember: boolean }): Promise<void> {
      if (calls.length === 0) return;
      await log.append(stream, calls.map(storeCall));
      // After the entry: a crash in between makes a repeated record an entry again, which is then billed once.
      if (options.remember) await Promise.all(calls.map((call) => kv.put(keyOf(call), 1, { ttlMs: knownForMs })));
    },
    async next(after: string | undefined): Promise<{ calls: Call[]; cursor: string; at: number } | undefined> {
      const { entries } = await log.page(stream, { after, limit: 1 });
      const [entry] = entries;
      if (entry === undefined) return undefined;
      return { calls: (entry.value as unknown[]).map(restoreCall), cursor: entry.cursor, at: entry.at };
    },
    /** Forgets what was billed; an hour is kept, since the clocks of replicas differ. */
    forget: (billedAt: number) => log.prune(stream, billedAt - hourMs),
  };
}

export type Inbox = ReturnType<typeof createInbox>;
