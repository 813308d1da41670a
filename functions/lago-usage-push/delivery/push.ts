import type { LagoClient, LagoEvent } from '#shared/clients/lago.ts';
import { maxBatch } from '#shared/clients/lago-lookup.ts';

/** What became of each event, by its transaction id. An event without a fate was not delivered as far as we know. */
export interface PushResult {
  /** Those of which Lago was asked to store, whatever came of it. */
  tried: Set<string>;
  sent: Set<string>;
  alreadyThere: Set<string>;
  rejected: Map<string, string>;
  unprocessed: string[];
  /** What stopped the push. */
  failure?: unknown;
}

export interface PushOptions {
  lago: LagoClient;
  /** Batches at once. */
  inFlight: number;
  /** An earlier try may have stored them. */
  isUncertain: boolean;
  /** False: an event must not go out any more (its period closed meanwhile); stops the push. */
  mayStillSend: (event: LagoEvent) => boolean;
  signal?: AbortSignal | undefined;
}

export class PeriodClosedError extends Error {
  constructor() {
    super('A billing period closed while its usage waited: the next run decides on it anew');
    this.name = 'PeriodClosedError';
  }
}

/** Sends events in batches, a few in flight. After the first failure no new batch begins, and what is in flight ends. */
export async function pushEvents(given: LagoEvent[], options: PushOptions): Promise<PushResult> {
  const { lago, signal } = options;
  // What Lago has is asked for by time: neighbours are found in one answer.
  const events = options.isUncertain
    ? given.toSorted((left, right) => Number(left.timestamp) - Number(right.timestamp))
    : given;
  const send = options.isUncertain ? lago.sendDoubtful : lago.sendBatch;
  const result: PushResult = {
    tried: new Set(),
    sent: new Set(),
    alreadyThere: new Set(),
    rejected: new Map(),
    unprocessed: [],
  };
  let next = 0;

  async function sendNext() {
    const batch = events.slice(next, next + maxBatch);
    if (!batch.every(options.mayStillSend)) throw new PeriodClosedError();
    next += maxBatch;
    for (const { transaction_id: id } of batch) result.tried.add(id);
    const { delivered, alreadyThere, rejected, unprocessed } = await send(batch, signal);
    for (const id of delivered) result.sent.add(id);
    for (const id of alreadyThere) result.alreadyThere.add(id);
    for (const { transactionId, reason } of rejected) result.rejected.set(transactionId, reason);
    result.unprocessed.push(...unprocessed);
  }

  async function work() {
    while (next < events.length && result.failure === undefined) {
      try {
        await sendNext();
      } catch (error) {
        result.failure ??= error;
      }
    }
  }

  await Promise.all(Array.from({ length: options.inFlight }, work));
  return result;
}
