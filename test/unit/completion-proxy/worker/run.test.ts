import { describe, expect, it } from 'vitest';
import { runBenchmark } from '../../../../functions/completion-proxy/worker/benchmark/run.ts';

/** A benchmark of two requests a run, in a second each run; `workloads` are what they give in turn, or their failure. */
function start(workloads: (number | Error)[], warmUp: () => Promise<unknown> = async () => {}) {
  let clock = 0;
  let asked = 0;
  const logged: Record<string, unknown>[] = [];
  const stop = new AbortController();
  const runs = runBenchmark(
    {
      runs: workloads.length / 2,
      concurrency: 2,
      warmUp,
      async once() {
        clock += 500;
        const next = workloads[asked++]!;
        if (next instanceof Error) throw next;
        return next;
      },
      clock: () => clock,
    },
    { signal: stop.signal, log: { info: (_message, fields) => logged.push(fields!), warn: () => {} } },
  );
  return { runs, stop, logged, asked: () => asked };
}
const broken = new Error('status 500');

describe('the runs of a benchmark', () => {
  it('give their workload over their time', async () => {
    const { runs, logged } = start([10, 20, 5, 5, 40, 2]);
    expect(await runs).toEqual([30, 10, 42]);
    expect(logged).toHaveLength(3);
  });

  it('are without those in which nothing succeeded; a failure within one costs its work', async () => {
    expect(await start([broken, broken, 10, broken]).runs).toEqual([10]);
  });

  it('fail with the first failure where all did, and where the warm-up did', async () => {
    await expect(start([broken, new Error('later')]).runs).rejects.toBe(broken);
    await expect(start([1, 1], () => Promise.reject(broken)).runs).rejects.toBe(broken);
    await expect(start([0, 0]).runs).rejects.toThrow('no request of the benchmark did any work');
  });

  it('stop when the worker does', async () => {
    const { runs, stop, asked } = start([1, 1, 1, 1]);
    stop.abort(new Error('the worker stops'));
    await expect(runs).rejects.toThrow('the worker stops');
    expect(asked()).toBe(0);
  });
});
