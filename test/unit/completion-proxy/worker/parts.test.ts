import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HttpRequest } from '#shared/clients/http.ts';
import { createLogger } from '#shared/log.ts';
import { createLife } from '../../../../functions/completion-proxy/worker/life.ts';
import { Load, type Work } from '../../../../functions/completion-proxy/worker/load.ts';
import { createPathCheck } from '../../../../functions/completion-proxy/worker/read-call.ts';
import { createReporter } from '../../../../functions/completion-proxy/worker/reporter.ts';

const log = createLogger({ write: () => {} });
const work = (requestIdx: number, workload = 10, reqnum = requestIdx): Work => ({ workload, requestIdx, reqnum });

describe('the load', () => {
  it('comes back to exactly nothing, and tells every ticket once, whatever happened', () => {
    const step = fc.record({
      idx: fc.nat(20),
      workload: fc.double({ min: 0, max: 1e6, noNaN: true }),
      how: fc.constantFrom('served', 'cancelled', 'errored', 'rejected'),
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
});

function startReporter(answers: (address: string, request: HttpRequest) => boolean = () => true) {
  const sent: { address: string; path: string; json: Record<string, unknown> }[] = [];
  const load = new Load();
  let now = 0;
  const waits: number[] = [];
  const reporter = createReporter({
    load,
    clients: ['http://a', 'http://b'].map((address) => ({
      address,
      client: {
        async request(request) {
          sent.push({ address, path: request.path, json: request.json as Record<string, unknown> });
          if (!answers(address, request)) throw new Error('refused');
          return { status: 200, headers: {}, text: '' };
        },
      },
    })),
    containerId: 7,
    masterToken: () => 'token',
    url: 'http://1.2.3.4:40000',
    statusEveryMs: 1_000,
    deletionsEveryMs: 1_000,
    retryDelayMs: 2_000,
    attempts: 3,
    log,
    now: () => now,
    sleep: async (ms) => {
      waits.push(ms);
    },
    usedDiskBytes: async () => 5e9,
  });
  return { reporter, load, sent, waits, pass: (ms: number) => (now += ms) };
}

describe('the reports', () => {
  it('have the 17 fields, in their order, with the sums since the last one', async () => {
    const { reporter, load, sent } = startReporter();
    load.throughput = 50;
    reporter.loaded(0.14);
    const [one, two, three] = [work(9, 20), work(10, 30), work(11, 5)];
    load.begin(one);
    load.begin(two);
    load.begin(three);
    load.end(one, 'served');
    load.end(three, 'cancelled');
    load.reject(work(12, 7));
    await reporter.tickStatus();
    expect(JSON.stringify(sent[0]!.json)).toBe(
      '{"id":7,"mtoken":"token","version":"0.3.0","loadtime":0.14,"cur_load":30,"rej_load":7,"new_load":57,' +
        '"error_msg":"","max_perf":50,"cur_perf":20,"cur_capacity":0,"max_capacity":0,"num_requests_working":1,' +
        '"num_requests_recieved":4,"additional_disk_usage":0,"working_request_idxs":[10],"url":"http://1.2.3.4:40000"}',
    );
    load.end(two, 'errored');
    await reporter.tickStatus();
    expect(sent[1]!.json).toMatchObject({ loadtime: 0, cur_load: 0, rej_load: 0, new_load: 0, cur_perf: 0 });
  });

  it('go out on news, and after ten seconds of silence', async () => {
    const { reporter, load, sent, pass } = startReporter();
    await reporter.tickStatus();
    await reporter.tickStatus();
    pass(9_999);
    await reporter.tickStatus();
    expect(sent).toHaveLength(1);
    pass(1);
    await reporter.tickStatus();
    expect(sent).toHaveLength(2);
    load.begin(work(1));
    await reporter.tickStatus();
    reporter.errored('broken');
    await reporter.tickStatus();
    reporter.errored('broken');
    await reporter.tickStatus();
    reporter.errored('');
    await reporter.tickStatus();
    expect(sent.slice(2).map(({ json }) => json.error_msg)).toEqual(['', 'broken', '']);
  });

  it('are tried three times at each address, in order, until one takes them, and kept when none does', async () => {
    const failing = new Set(['http://a']);
    const { reporter, load, sent, waits } = startReporter((address) => !failing.has(address));
    load.begin(work(1, 20));
    await reporter.tickStatus();
    expect(sent.map(({ address }) => address)).toEqual(['http://a', 'http://a', 'http://a', 'http://b']);
    expect(waits).toEqual([2_000, 2_000, 2_000]);
    failing.add('http://b');
    load.begin(work(2, 5));
    await reporter.tickStatus();
    failing.clear();
    await reporter.tickStatus();
    expect(sent.at(-1)!.json.new_load).toBe(5);
  });

  it('delete successes and failures in a call each, again until they are taken', async () => {
    let isDown = true;
    const { reporter, load, sent } = startReporter(() => !isDown);
    const [good, left, bad] = [work(2), work(3), work(4)];
    for (const one of [good, left, bad]) load.begin(one);
    load.end(good, 'served');
    load.end(left, 'cancelled');
    load.end(bad, 'errored');
    load.reject(work(5));
    await reporter.tickDeletions();
    isDown = false;
    sent.length = 0;
    await reporter.tickDeletions();
    await reporter.tickDeletions();
    expect(sent.map(({ path, json }) => [path, json])).toEqual([
      ['/delete_requests/', { worker_id: 7, mtoken: 'token', request_idxs: [2, 3], success: true }],
      ['/delete_requests/', { worker_id: 7, mtoken: 'token', request_idxs: [4, 5], success: false }],
    ]);
  });
});

describe('the life of a worker', () => {
  /** Runs a life whose health answers are given, one each time it is asked; the last one ends it. */
  async function live(health: (number | Error)[], more: { benchmark?: () => Promise<number>; isNamed?: boolean } = {}) {
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
      wasMeasured: async () => false,
      cached: async () => undefined,
      readyTimeoutMs: 10_000,
      resumeTimeoutMs: 10_000,
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

  it('takes a 404 on a health path that nobody named for a sign of life', async () => {
    expect(await live([404, 404, 404], { isNamed: false })).toEqual(['loaded 50', '']);
  });
});

describe('blocked paths', () => {
  it.each(['/admin', '/admin/x', '//admin/x', '/%61dmin/x', '/v1/../admin/x', '/v1/%2e%2e/admin/x', '/pull?'])(
    'cover %s',
    (path) => expect(createPathCheck(['/admin', '/admin/*', '/pul??'])(path)).toBe(true),
  );

  it('leave the others', () => {
    const isBlocked = createPathCheck(['/admin', '/a.b', '/pul?']);
    for (const path of ['/administer', '/axb', '/v1/chat/completions', '/', '/%zz'])
      expect(isBlocked(path)).toBe(false);
    expect(createPathCheck([])('/admin')).toBe(false);
  });
});
