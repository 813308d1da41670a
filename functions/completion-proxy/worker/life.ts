import type { Logger } from '#shared/http/function.ts';
import { sleep as realSleep } from '#shared/retry.ts';

export interface LifeOptions {
  /** Resolves with the status of the backend's answer to its health check; rejects when there is none. */
  askHealth: (signal: AbortSignal) => Promise<number>;
  /** An answer to the health path that is asked because nobody named one may be anything but a failure. */
  isNamed: boolean;
  /** Resolves with the throughput; rejects when it could not be measured. */
  benchmark: (signal: AbortSignal) => Promise<number>;
  /** Whether there is a result of this backend: then it was well before. */
  wasMeasured: () => Promise<boolean>;
  /** The result of what the backend serves now. It is asked once the backend is ready. */
  cached: (signal: AbortSignal) => Promise<number | undefined>;
  readyTimeoutMs: number;
  /** The same where it was well before. */
  resumeTimeoutMs: number;
  retryEveryMs: number;
  pollEveryMs: number;
  failuresToError: number;
  onLoaded: (throughput: number, loadTimeS: number) => void;
  /** `''` is well again. */
  onError: (error: string) => void;
  log: Logger;
  clock?: () => number;
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

const benchmarkAgainMs = 60_000;

/** The worker's life: waits for the backend, measures it, then watches it. Ends when `close` is called. */
export function createLife(options: LifeOptions) {
  const { askHealth, isNamed, onLoaded, onError, log } = options;
  const { clock = () => performance.now(), sleep = realSleep } = options;
  const stop = new AbortController();
  const { signal } = stop;
  const startedAt = clock();
  // It rejects only when the worker stops, which every loop sees.
  const rest = (ms: number) => sleep(ms, signal).catch(() => {});

  async function isWell(): Promise<{ well: boolean; reason: string }> {
    try {
      const status = await askHealth(signal);
      return { well: isNamed ? status === 200 : status < 500, reason: `status ${status}` };
    } catch (error) {
      return { well: false, reason: (error as Error).message };
    }
  }

  async function waitUntilReady(timeoutMs: number): Promise<void> {
    let isLate = false;
    while (!signal.aborted) {
      const { well, reason } = await isWell();
      if (well) return;
      log.debug('the backend is not ready', { reason });
      if (!isLate && clock() - startedAt >= timeoutMs) {
        isLate = true;
        onError(`Backend failed to become ready after ${timeoutMs / 1_000} seconds`);
        log.error('the backend did not become ready in time', { reason, ready_timeout_s: timeoutMs / 1_000 });
      }
      await rest(options.retryEveryMs);
    }
  }

  async function measure(): Promise<number | undefined> {
    while (!signal.aborted) {
      try {
        return await options.benchmark(signal);
      } catch (error) {
        if (signal.aborted) return undefined;
        onError(`Benchmark failed: ${(error as Error).message}`);
        log.error('the benchmark failed', { error });
        await rest(benchmarkAgainMs);
      }
    }
    return undefined;
  }

  async function watch(): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      await rest(options.pollEveryMs);
      if (signal.aborted) return;
      const { well, reason } = await isWell();
      if (signal.aborted) return;
      failures = well ? 0 : failures + 1;
      if (well) onError('');
      else log.warn('the backend fails its check', { reason, failures });
      if (failures >= options.failuresToError) {
        onError(`Backend failed ${options.failuresToError} consecutive healthchecks: ${reason}`);
      }
    }
  }

  return {
    async run(): Promise<void> {
      await waitUntilReady((await options.wasMeasured()) ? options.resumeTimeoutMs : options.readyTimeoutMs);
      if (signal.aborted) return;
      const cached = await options.cached(signal);
      const throughput = cached ?? (await measure());
      if (throughput === undefined || signal.aborted) return;
      onLoaded(throughput, Math.max((clock() - startedAt) / 1_000, 0.001));
      log.info('the worker is loaded', { throughput, from_cache: cached !== undefined });
      await watch();
    },
    close: () => stop.abort(),
  };
}
