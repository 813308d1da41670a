export interface RetryOptions {
  /** All attempts, the first included. */
  attempts: number;
  /** Upper bound of the first wait; it doubles with each attempt. */
  baseMs?: number;
  maxWaitMs?: number;
  signal?: AbortSignal | undefined;
  shouldRetry: (error: unknown) => boolean;
  /** What the upstream asked for (`Retry-After`), in ms; honoured up to `maxWaitMs`. */
  retryAfterMs?: (error: unknown) => number | undefined;
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
  random?: () => number;
}

/** Resolves after `ms`; rejects with the signal's reason as soon as it aborts. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** Exponential backoff with full jitter: many clients that failed together do not come back together. */
export async function retry<T>(operation: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const { attempts, baseMs = 200, maxWaitMs = 10_000, signal, random = Math.random } = options;
  const wait = options.sleep ?? sleep;
  for (let attempt = 1; ; attempt++) {
    try {
      return await operation(attempt);
    } catch (error) {
      if (attempt >= attempts || signal?.aborted || !options.shouldRetry(error)) throw error;
      const asked = options.retryAfterMs?.(error);
      // An upstream that asks for more patience than we have will refuse the early retry as well.
      if (asked !== undefined && asked > maxWaitMs) throw error;
      await wait(asked ?? random() * Math.min(maxWaitMs, baseMs * 2 ** (attempt - 1)), signal);
    }
  }
}

/** `Retry-After` in ms: seconds or an HTTP date; undefined when absent or unreadable. */
export function parseRetryAfterMs(value: string | undefined, now: () => number = Date.now): number | undefined {
  if (value === undefined || value.trim() === '') return undefined;
  if (/^\d+(\.\d+)?$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now());
}
