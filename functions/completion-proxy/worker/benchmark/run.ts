import type { Logger } from '#shared/http/function.ts';

export interface BenchmarkContext {
  signal: AbortSignal;
  log: Pick<Logger, 'info' | 'warn'>;
}

/** What a module of one's own exports as `benchmark`: the workload that the backend does in a second. */
export type Benchmark = (backendUrl: string, context: BenchmarkContext) => Promise<number>;

export interface BenchmarkPlan {
  runs: number;
  /** Requests at a time in a run, which is as many as it has. */
  concurrency: number;
  warmUp: () => Promise<unknown>;
  /** One request, read to its end: the workload that it was. Throws for anything but success. */
  once: () => Promise<number>;
  clock?: () => number;
}

/**
 * Workload per second of each run that had a success; the best one is the result. Throws when the warm-up fails, and when
 * no run had a success: a backend that does not work has no throughput.
 */
export async function runBenchmark(plan: BenchmarkPlan, { signal, log }: BenchmarkContext): Promise<number[]> {
  const { runs, concurrency, warmUp, once, clock = () => performance.now() } = plan;
  await warmUp();
  const results: number[] = [];
  let failure: unknown;
  for (let run = 1; run <= runs; run++) {
    signal.throwIfAborted();
    const startedAt = clock();
    const settled = await Promise.allSettled(Array.from({ length: concurrency }, once));
    const seconds = (clock() - startedAt) / 1_000;
    const workload = settled.reduce((sum, one) => sum + (one.status === 'fulfilled' ? one.value : 0), 0);
    const failed = settled.filter((one) => one.status === 'rejected');
    failure ??= failed[0]?.reason;
    if (workload > 0) results.push(workload / seconds);
    log.info('benchmark run', { run, of: runs, failed: failed.length, per_second: workload / seconds });
  }
  if (results.length === 0) throw failure ?? new Error('no request of the benchmark did any work');
  return results;
}
