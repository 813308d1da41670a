/**
 * A clock that moves by itself to the next thing that is waited for, once nothing else is left to do: whoever sleeps is
 * woken in the order of time, without a real wait.
 */
export function createVirtualTime(startMs = 1_800_000_000_000) {
  let nowMs = startMs;
  let waiting: { atMs: number; wake: () => void }[] = [];
  let pumping = false;

  async function pump(): Promise<void> {
    pumping = true;
    while (waiting.length > 0) {
      // A few turns of the event loop: promises settle, modules load, and whoever is awake may begin to wait.
      for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve));
      const next = waiting.toSorted((one, other) => one.atMs - other.atMs)[0];
      if (next === undefined) break;
      waiting = waiting.filter((item) => item !== next);
      nowMs = Math.max(nowMs, next.atMs);
      next.wake();
    }
    pumping = false;
  }

  return {
    now: () => nowMs,
    elapsedMs: () => nowMs - startMs,
    sleep(ms: number, signal?: AbortSignal): Promise<void> {
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const item = { atMs: nowMs + ms, wake: resolve };
        waiting.push(item);
        signal?.addEventListener('abort', () => {
          waiting = waiting.filter((other) => other !== item);
          reject(signal.reason);
        });
        if (!pumping) void pump();
        return undefined;
      });
    },
  };
}
