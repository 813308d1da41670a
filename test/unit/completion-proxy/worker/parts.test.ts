import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLogger } from '#shared/log.ts';
import { createLife } from '../../../../functions/completion-proxy/worker/life.ts';
import { Load, type Work } from '../../../../functions/completion-proxy/worker/load.ts';
import { createPathCheck } from '../../../../functions/completion-proxy/worker/read-call.ts';

const log = createLogger({ write: () => {} });
const work = (requestIdx: number, workload = 10, reqnum = requestIdx): Work => ({ workload, requestIdx, reqnum });

describe('the load', () => {
  it('comes back to exactly nothing, and tells every ticket once, whatever happened', () => {
    const step = fc.record({
      idx: fc.nat(20),
      workload: fc.double({ min: 0, max: 1e6, noNaN: true }),
      how: fc.constantFrom('served', 'cancelled', 'errored', 'rejected', 'declined'),
      later: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const load = new Load();
        const told: string[] = [];
        const tell = () => {
          const keys = [...load.deletions.keys()];
          told.push(...keys);
          load.deleted(keys);
        };
        const open: [Work, 'served' | 'cancelled' | 'errored'][] = [];
        const used = new Set<string>();
        for (const { idx, workload, how, later } of steps) {
          const one = work(idx, workload);
          used.add(`${idx}:${idx}`);
          if (how === 'rejected') load.reject(one);
          else if (how === 'declined') load.decline(one);
          else {
            load.begin(one);
            if (later) open.push([one, how as 'served']);
            else load.end(one, how as 'served');
          }
          if (later) tell();
        }
        for (const [one, how] of open) load.end(one, how);
        tell();
        return (
          load.current === 0 && load.working === 0 && told.length === new Set(told).size && told.length === used.size
        );
      }),
    );
  });

  it('waits for what is under way over what the backend does in a second', () => {
    const load = new Load();
    load.throughput = 50;
    expect(load.waitS).toBe(0);
    load.begin(work(1, 600));
    expect(load.waitS).toBe(12);
  });

  it('deletes nothing for calls that the autoscaler did not give out', () => {
    const load = new Load();
    const plain: Work = { workload: 1, requestIdx: undefined, reqnum: undefined };
    load.begin(plain);
    load.begin({ ...plain });
    expect([load.working, load.current, load.requestIdxs]).toEqual([2, 2, []]);
    load.end(plain, 'served');
    expect(load.deletions.size).toBe(0);
  });

  it('keeps no deletions where nobody takes them', () => {
    const load = new Load({ isTold: false });
    load.begin(work(1));
    load.reject(work(2));
    load.decline(work(3));
    expect(load.deletions.size).toBe(0);
  });

  it('of a call that is declined is nothing, but the call is told', () => {
    const load = new Load();
    load.decline(work(5));
    expect([load.current, load.counts, load.received]).toEqual([
      0,
      { received: 0, cancelled: 0, served: 0, rejected: 0 },
      0,
    ]);
    expect([...load.deletions.values()]).toEqual([{ requestIdx: 5, success: false }]);
  });

  it('counts a ticket that comes again as one, and remembers no more of them than it must', () => {
    const load = new Load();
    for (let call = 0; call < 25_000; call++) load.end(begun(load, work(call)), 'served');
    load.end(begun(load, work(24_999)), 'served');
    expect(load.received).toBe(25_000);
    load.reject({ workload: 1, requestIdx: undefined, reqnum: undefined });
    expect(load.received).toBe(25_001);
  });

  function begun(load: Load, one: Work): Work {
    load.begin(one);
    return one;
  }
});

describe('the life of a worker', () => {
  /** Runs a life whose health answers are given, one each time it is asked; the last one ends it. */
  interface More {
    benchmark?: () => Promise<number>;
    isNamed?: boolean;
    wasMeasured?: boolean;
    cached?: number;
  }
  async function live(health: (number | Error)[], more: More = {}) {
    const told: string[] = [];
    let clock = 0;
    const life = createLife({
      async askHealth() {
        const next = health.shift();
        if (health.length === 0) life.close();
        if (next instanceof Error || next === undefined) throw next ?? new Error('the end');
        return next;
      },
      isNamed: more.isNamed ?? true,
      benchmark: more.benchmark ?? (async () => 50),
      wasMeasured: async () => more.wasMeasured ?? false,
      cached: async () => more.cached,
      readyTimeoutMs: 10_000,
      resumeTimeoutMs: 5_000,
      retryEveryMs: 5_000,
      pollEveryMs: 10_000,
      failuresToError: 3,
      onLoaded: (throughput) => told.push(`loaded ${throughput}`),
      onError: (error) => told.at(-1) === error || told.push(error),
      log,
      clock: () => clock,
      sleep: async (ms) => {
        clock += ms;
      },
    });
    await life.run();
    return told;
  }
  const down = new Error('no connection');

  it('waits until the backend is ready, tells when that takes too long, and goes on waiting', async () => {
    expect(await live([down, 503, 503, 503, 200, 200, 200])).toEqual([
      'Backend failed to become ready after 10 seconds',
      'loaded 50',
      '',
    ]);
  });

  it('tells of an error after three failures in a row, and of the recovery', async () => {
    expect(await live([200, 503, 503, 200, 503, down, 503, 503, 200, 200, 200])).toEqual([
      'loaded 50',
      '',
      'Backend failed 3 consecutive healthchecks: status 503',
      '',
    ]);
  });

  it('tells that the benchmark failed, and measures again', async () => {
    let tries = 0;
    const benchmark = async () => {
      tries += 1;
      if (tries === 1) throw new Error('all requests failed');
      return 70;
    };
    expect(await live([200, 200, 200], { benchmark })).toEqual([
      'Benchmark failed: all requests failed',
      'loaded 70',
      '',
    ]);
  });

  it('is soon impatient where the backend was well before, and measures nothing that is known', async () => {
    const benchmark = async () => 70;
    const known = { benchmark, wasMeasured: true, cached: 42 };
    expect(await live([503, 503, 503, 200, 200, 200], known)).toEqual([
      'Backend failed to become ready after 5 seconds',
      'loaded 42',
      '',
    ]);
    // The backend serves another model now.
    expect(await live([200, 200, 200], { benchmark, wasMeasured: true })).toEqual(['loaded 70', '']);
  });

  it('takes a 404 on a health path that nobody named for a sign of life', async () => {
    expect(await live([404, 404, 404], { isNamed: false })).toEqual(['loaded 50', '']);
  });
});

describe('blocked paths', () => {
  it.each([
    '/admin',
    '/admin/x',
    '//admin/x',
    '/%61dmin/x',
    '/v1/../admin/x',
    '/v1/%2e%2e/admin/x',
    '/pull?',
    '/admin/%zz',
    '/%zz/../admin',
    '/%zz/%2e%2e/%61dmin',
    '/%5Cadmin',
    '/\\admin',
    '/%2561dmin',
    '/%ff/../admin',
  ])('cover %s', (path) => expect(createPathCheck(['/admin', '/admin/*', '/pul??'])(path)).toBe(true));

  it('can be asked about any path, and a blocked one stays so behind any detour', () => {
    const isBlocked = createPathCheck(['/admin']);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const segment = encodeURIComponent(text.toWellFormed().replaceAll(/[./\\?#]/g, ''));
        isBlocked(`/${text}`);
        return segment === '' || isBlocked(`/${segment}/../admin`);
      }),
    );
  });

  it('leave the others', () => {
    const isBlocked = createPathCheck(['/admin', '/a.b', '/pul?']);
    for (const path of ['/administer', '/axb', '/v1/chat/completions', '/', '/%zz'])
      expect(isBlocked(path)).toBe(false);
    expect(createPathCheck([])('/admin')).toBe(false);
  });
});
