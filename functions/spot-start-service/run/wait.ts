import { UpstreamError } from '#shared/errors.ts';

export interface Patience {
  signal: AbortSignal;
  endsAtMs: number;
}

export type Sleep = (ms: number, signal?: AbortSignal) => Promise<void>;

export type Waited<Value> = { inTime: true; value: Value } | { inTime: false };

/** Waits for something that goes on without us: until its end, the deadline, or the caller's leaving (rejects). */
export async function waitFor<Value>(
  work: Promise<Value>,
  { signal, endsAtMs }: Patience,
  { now, sleep }: { now: () => number; sleep: Sleep },
): Promise<Waited<Value>> {
  const settled = new AbortController();
  try {
    return await Promise.race([
      work.then((value) => ({ inTime: true as const, value })),
      sleep(Math.max(0, endsAtMs - now()), AbortSignal.any([settled.signal, signal])).then(
        () => ({ inTime: false as const }),
        () => {
          throw new UpstreamError('Portainer', 'aborted', 'the caller is gone');
        },
      ),
    ]);
  } finally {
    settled.abort();
  }
}
