/**
 * Work that is under way is shared by everyone who wants the same, and ends when nobody is left: one caller who leaves
 * takes nothing from the others.
 */
export function createFlights() {
  const flights = new Map<string, { promise: Promise<unknown>; waiting: number; controller: AbortController }>();

  return async function share<T>(
    key: string,
    signal: AbortSignal,
    start: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted();
    let flight = flights.get(key);
    if (flight === undefined) {
      const controller = new AbortController();
      const promise = start(controller.signal).finally(() => {
        if (flights.get(key)?.controller === controller) flights.delete(key);
      });
      // Everyone may have left before it fails.
      promise.catch(() => undefined);
      flight = { promise, waiting: 0, controller };
      flights.set(key, flight);
    }
    const mine = flight;
    mine.waiting += 1;
    let leave = () => {};
    const left = new Promise<never>((_, reject) => {
      leave = () => reject(signal.reason);
      signal.addEventListener('abort', leave, { once: true });
    });
    try {
      return (await Promise.race([mine.promise, left])) as T;
    } finally {
      signal.removeEventListener('abort', leave);
      mine.waiting -= 1;
      if (mine.waiting === 0 && flights.get(key) === mine) {
        flights.delete(key);
        mine.controller.abort(signal.reason);
      }
    }
  };
}

export type ShareFlight = ReturnType<typeof createFlights>;
