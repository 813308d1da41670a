import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { HttpRequest } from '#shared/clients/http.ts';
import { createLogger } from '#shared/log.ts';
import { Load, type Work } from '../../../../functions/completion-proxy/worker/load.ts';
import { createReporter } from '../../../../functions/completion-proxy/worker/reporter.ts';

const work = (requestIdx: number, workload = 10, reqnum = requestIdx): Work => ({ workload, requestIdx, reqnum });

type Answers = (address: string, request: HttpRequest) => boolean | Promise<boolean>;

function startReporter(
  answers: Answers = () => true,
  { addresses = ['http://a', 'http://b'], isSlow = false }: { addresses?: string[]; isSlow?: boolean } = {},
) {
  const sent: { address: string; path: string; json: Record<string, unknown> }[] = [];
  const load = new Load();
  let now = 0;
  const waits: number[] = [];
  const lines: string[] = [];
  const reporter = createReporter({
    load,
    clients: addresses.map((address) => ({
      address,
      client: {
        async request(request) {
          sent.push({ address, path: request.path, json: request.json as Record<string, unknown> });
          if (!(await answers(address, request))) throw new Error(`refused: ${JSON.stringify(request.json)}`);
          return { status: 200, headers: {}, text: '' };
        },
      },
    })),
    containerId: 7,
    masterToken: () => 'hush-hush',
    url: 'http://1.2.3.4:40000',
    statusEveryMs: 1_000,
    deletionsEveryMs: 1_000,
    retryDelayMs: 2_000,
    attempts: 3,
    log: createLogger({ write: (line) => lines.push(line) }),
    now: () => now,
    async sleep(ms, signal) {
      waits.push(ms);
      if (!isSlow) return;
      if (!signal!.aborted) await once(signal!, 'abort');
      throw signal!.reason;
    },
    lastWordsMs: 30,
    usedDiskBytes: async () => 5e9,
  });
  return { reporter, load, sent, waits, lines, pass: (ms: number) => (now += ms) };
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
      '{"id":7,"mtoken":"hush-hush","version":"0.3.0","loadtime":0.14,"cur_load":30,"rej_load":7,"new_load":57,' +
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
      ['/delete_requests/', { worker_id: 7, mtoken: 'hush-hush', request_idxs: [2, 3], success: true }],
      ['/delete_requests/', { worker_id: 7, mtoken: 'hush-hush', request_idxs: [4, 5], success: false }],
    ]);
  });
});

describe('what the reports leave out', () => {
  it('is the token in the log, also where the autoscaler repeats what it was sent', async () => {
    const { reporter, load, lines } = startReporter(() => false);
    load.reject(work(1));
    await reporter.tickStatus();
    await reporter.tickDeletions();
    expect(lines.length).toBeGreaterThan(6);
    expect(lines.join()).toContain('[redacted]');
    expect(lines.join()).not.toContain('hush-hush');
  });

  it('is deletions to an address that takes none', async () => {
    const { reporter, load, sent } = startReporter(() => true, { addresses: ['https://cloud.vast.ai/api/v0'] });
    load.reject(work(1));
    await reporter.tickDeletions();
    expect([sent.length, load.deletions.size]).toEqual([0, 0]);
  });
});

describe('the end of the reports', () => {
  it('waits for what is being told, tells the last of it, and nothing twice', async () => {
    let take = (_isTaken: boolean) => {};
    const { reporter, load, sent } = startReporter(
      (_address, { path }) =>
        path === '/delete_requests/' && sent.filter((one) => one.path === path).length === 1
          ? new Promise<boolean>((resolve) => {
              take = resolve;
            })
          : true,
      { isSlow: true },
    );
    load.reject(work(1));
    reporter.start();
    load.reject(work(2));
    const closed = reporter.close();
    take(true);
    await closed;
    const told = sent.flatMap(({ path, json }) => (path === '/delete_requests/' ? [json.request_idxs] : []));
    expect(told).toEqual([[1], [2]]);
    const loads = sent.flatMap(({ path, json }) => (path === '/worker_status/' ? [json.rej_load as number] : []));
    expect(loads.reduce((sum, one) => sum + one, 0)).toBe(20);
  });

  it('does not wait for an autoscaler that says nothing', async () => {
    const { reporter, load, sent } = startReporter(
      async (_address, { signal }) => {
        if (signal!.aborted) return false;
        await once(signal!, 'abort');
        return false;
      },
      { isSlow: true },
    );
    load.reject(work(1));
    reporter.start();
    await reporter.close();
    expect(sent.length).toBeGreaterThan(0);
  });
});
