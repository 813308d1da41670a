import { randomUUID } from 'node:crypto';
import type { Engine } from './engine.ts';

export interface Lease {
  /** Holds it for another `ttlMs` from now; false when it was lost, and then the work must stop. */
  renew(): Promise<boolean>;
  /** Lets the next one in; does nothing when it was lost. */
  release(): Promise<void>;
}

/** Leases run by the clocks of their holders: choose a `ttlMs` far above the difference between replicas' clocks. */
export function createLeases(
  engine: Engine,
  { scoped, now }: { scoped: (key: string) => string; now: () => number },
): (name: string, ttlMs: number) => Promise<Lease | null> {
  return async (name, ttlMs) => {
    const key = scoped(name);
    const holder = randomUUID();
    const taken = await engine.query(
      `INSERT INTO lease (name, holder, expires_at) VALUES ($1, $2, $3)
       ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
       WHERE lease.expires_at <= $4 RETURNING name`,
      [key, holder, now() + ttlMs, now()],
    );
    if (taken.length === 0) return null;
    return {
      async renew() {
        const kept = await engine.query(
          'UPDATE lease SET expires_at = $3 WHERE name = $1 AND holder = $2 AND expires_at > $4 RETURNING name',
          [key, holder, now() + ttlMs, now()],
        );
        return kept.length === 1;
      },
      async release() {
        await engine.query('DELETE FROM lease WHERE name = $1 AND holder = $2', [key, holder]);
      },
    };
  };
}
