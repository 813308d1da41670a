import type { LagoClient, LagoEvent } from '#shared/clients/lago.ts';
import { maxBatch } from '#shared/clients/lago.ts';

export interface PushResult {
  sent: Set<string>;
  alreadyThere: Set<string>;
  rejected: Map<string, string>;
  /** What stopped the push; events without a fate were then not delivered as far as we know. */
  failure?: unknown;
}

/** Sends events in batches, a few in flight. After the first failure no new batch begins, and what is in flight ends. */
export async function pushEvents(
  lago: LagoClient,
  events: LagoEvent[],
  options: { inFlight: number; signal?: AbortSignal | undefined },
): Promise<PushResult> {
  const result: PushResult = { sent: new Set(), alreadyThere: new Set(), rejected: new Map() };
  let next = 0;

  async function work() {
    while (next < events.length && result.failure === undefined) {
      const batch = events.slice(next, next + maxBatch);
      next += maxBatch;
      try {
        const { delivered, alreadyThere, rejected } = await lago.sendBatch(batch, options.signal);
        for (const id of delivered) result.sent.add(id);
        for (const id of alreadyThere) result.alreadyThere.add(id);
        for (const { transactionId, reason } of rejected) result.rejected.set(transactionId, reason);
      } catch (error) {
        result.failure ??= error;
      }
    }
  }

  await Promise.all(Array.from({ length: options.inFlight }, work));
  return result;
}
