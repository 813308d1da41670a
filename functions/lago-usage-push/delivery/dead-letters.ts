import * as z from 'zod';
import type { LagoEvent } from '#shared/clients/lago.ts';
import type { Store } from '#shared/store/store.ts';

const deadShape = z.object({
  transaction_id: z.string(),
  request_id: z.string(),
  external_subscription_id: z.string(),
  reason: z.string(),
  event: z.object({
    transaction_id: z.string(),
    external_subscription_id: z.string(),
    code: z.string(),
    timestamp: z.string(),
    precise_total_amount_cents: z.string().optional(),
    properties: z.record(z.string(), z.string()),
  }),
});

/** An event that Lago refuses, with what it said. */
export type DeadLetter = z.infer<typeof deadShape>;

export interface DeadLetters {
  add(letter: Omit<DeadLetter, 'event'> & { event: LagoEvent }): Promise<void>;
  /** Those that wait, oldest first, each once; `next` while there may be more. */
  page(options?: {
    after?: string | undefined;
    limit?: number;
  }): Promise<{ letters: (DeadLetter & { died_at: string })[]; next?: string }>;
  /** Lago has it now. */
  resolve(transactionId: string): Promise<void>;
}

/** Dead letters in the store, beside their pair of systems. A resolved one is kept as such, so that it is not shown again. */
export function createDeadLetters({ kv, log }: Pick<Store, 'kv' | 'log'>, key: string): DeadLetters {
  const stream = `${key}/dead`;
  const stateOf = (id: string) => `${key}/dead/${id}`;
  return {
    async add(letter) {
      const cursor = await log.append(stream, letter);
      // The newest entry of an id is the one that counts: a crash may have left another before it.
      await kv.put(stateOf(letter.transaction_id), cursor);
    },
    async page({ after, limit = 100 } = {}) {
      const { entries, next } = await log.page(stream, { after, limit });
      const letters: (DeadLetter & { died_at: string })[] = [];
      for (const { cursor, at, value } of entries) {
        const letter = deadShape.parse(value);
        if ((await kv.get(stateOf(letter.transaction_id))) !== cursor) continue;
        letters.push({ ...letter, died_at: new Date(at).toISOString() });
      }
      return { letters, ...(next === undefined ? {} : { next }) };
    },
    resolve: (transactionId) => kv.put(stateOf(transactionId), 'resolved'),
  };
}
