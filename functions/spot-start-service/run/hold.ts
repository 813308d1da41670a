import type { Logger } from '#shared/http/function.ts';
import type { Lease, Store } from '#shared/store/store.ts';

/**
 * Asked before each step that changes something: false when another replica may have worked on the service meanwhile,
 * so that what was seen no longer counts. It is held again by then.
 */
export type StillHeld = () => Promise<boolean>;

export interface HoldOptions {
  /** Undefined without a store that other replicas see. */
  lease: Store['lease'] | undefined;
  now: () => number;
  sleep: (ms: number) => Promise<void>;
}

const leaseMs = 60_000;
const pollMs = 1_000;

/** Holds a service against other replicas while `work` runs; without the store Portainer's own refusals do. */
export function createHold({ lease, now, sleep }: HoldOptions) {
  /** Undefined: the work has to go on without one. */
  async function acquire(take: Store['lease'], name: string, log: Logger): Promise<Lease | undefined> {
    const startedAtMs = now();
    for (;;) {
      try {
        const mine = await take(name, leaseMs);
        if (mine !== null) return mine;
      } catch (error) {
        log.warn('the store does not answer: replicas may start at once', { error });
        return undefined;
      }
      // The other one cannot hold it for longer than its job lasts; then there may be nothing left to do.
      if (now() - startedAtMs > 20 * leaseMs) return undefined;
      await sleep(pollMs);
    }
  }

  return async function hold<Value>(
    name: string,
    log: Logger,
    work: (stillHeld: StillHeld) => Promise<Value>,
  ): Promise<Value> {
    if (lease === undefined) return work(async () => true);
    let mine = await acquire(lease, name, log);
    let endsAtMs = now() + leaseMs;
    let over = false;

    async function keep(): Promise<void> {
      for (;;) {
        await sleep(leaseMs / 3);
        if (over) return;
        const askedAtMs = now();
        const kept = await mine?.renew().catch((error) => log.warn('a lease could not be renewed', { error }));
        if (kept !== undefined) endsAtMs = kept ? askedAtMs + leaseMs : 0;
      }
    }

    async function stillHeld(): Promise<boolean> {
      if (mine === undefined || now() < endsAtMs) return true;
      log.warn('a lease was lost: what was seen is looked at again', { lease: name });
      mine = await acquire(lease as Store['lease'], name, log);
      endsAtMs = now() + leaseMs;
      return false;
    }

    void keep();
    try {
      return await work(stillHeld);
    } finally {
      over = true;
      await mine?.release().catch((error) => log.warn('a lease could not be released', { error }));
    }
  };
}
