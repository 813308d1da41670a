import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import createFunction from '../../functions/completion-proxy/index.ts';
import { readAuthMembers, toAuthJson, toAuthQuery } from '../../functions/completion-proxy/vast/auth-data.ts';
import { rawMembers } from '../../functions/completion-proxy/vast/raw-json.ts';
import { createWorker } from '../../functions/completion-proxy/worker/worker.ts';
import { startVastSandbox, type VastSandbox } from '../../sandbox/vast.ts';
import { until } from '../support/bundle-process.ts';
import { type Act, answerJson, hangUp, startScriptedBackend } from '../support/scripted-backend.ts';
import { startWorker, vastEnv } from '../support/vast-worker.ts';

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function startBackend(act: Act) {
  const backend = await startScriptedBackend(act);
  closing.push(() => backend.close());
  return backend;
}

async function startSandbox() {
  const sandbox = await startVastSandbox();
  closing.push(() => sandbox.close());
  return sandbox;
}

async function start(sandbox: VastSandbox, env: Record<string, string>) {
  const worker = await startWorker({ ...vastEnv(sandbox, 7, 3_000), ...env });
  closing.push(() => worker.close());
  return worker;
}

const isLoaded = (sandbox: VastSandbox) =>
  until('the worker is loaded', () => sandbox.world.workers.get(7)?.isLoaded || undefined);
const ticket = (sandbox: VastSandbox, cost = 1) =>
  readAuthMembers(rawMembers(sandbox.world.route(sandbox.world.endpoints[0]!, cost))!).auth;
const lastOf = (sandbox: VastSandbox) => sandbox.world.workers.get(7)?.reports.at(-1)?.status;
const errorIs = (sandbox: VastSandbox, error: string) =>
  until(`the error is "${error}"`, () => lastOf(sandbox)?.error_msg.startsWith(error) || undefined);
const fine = answerJson(200, { choices: [], usage: { completion_tokens: 5 } });

describe('what the autoscaler hears of a start', () => {
  it('is that the backend takes too long, and then that it is there', async () => {
    let isThere = false;
    const backend = await startBackend((res, call) => (isThere ? fine : hangUp)(res, call));
    const sandbox = await startSandbox();
    await start(sandbox, { BACKEND_URL: backend.url, READY_TIMEOUT: '0.05' });
    await errorIs(sandbox, 'Backend failed to become ready after 0.05 seconds');
    expect(sandbox.world.workers.get(7)!.isLoaded).toBe(false);
    isThere = true;
    await isLoaded(sandbox);
    await until('the error is gone', () => lastOf(sandbox)!.error_msg === '' || undefined);
    expect(lastOf(sandbox)!.max_perf).toBe(100);
  });

  it('is the best of the runs', async () => {
    let asked = 0;
    const backend = await startBackend((res, call) => {
      if (call.method === 'POST') asked += 1;
      // The third of eight runs of ten, after the warm-up.
      const completion_tokens = asked > 21 && asked <= 31 ? 1_000_000 : 1;
      answerJson(200, { usage: { completion_tokens } })(res, call);
    });
    const sandbox = await startSandbox();
    await start(sandbox, { BACKEND_URL: backend.url, BENCHMARK: 'openai', MODEL_NAME: 'm' });
    await isLoaded(sandbox);
    expect([asked, lastOf(sandbox)!.max_perf > 100_000]).toEqual([81, true]);
  });

  it('is that the benchmark failed; no throughput is made up', async () => {
    const backend = await startBackend((res, call) =>
      answerJson(call.url === '/health' ? 200 : 500, { error: 'out of memory' })(res, call),
    );
    const sandbox = await startSandbox();
    await start(sandbox, { BACKEND_URL: backend.url, BENCHMARK: 'openai' });
    await errorIs(sandbox, 'Benchmark failed: The backend: status 500');
    expect([lastOf(sandbox)!.max_perf, sandbox.world.workers.get(7)!.isLoaded]).toEqual([0, false]);
  });
});

describe('the addresses of the autoscaler', () => {
  it('are tried in turn, for the key as for the reports', async () => {
    const backend = await startBackend(fine);
    const sandbox = await startSandbox();
    const dead = await startBackend(answerJson(500, {}));
    const worker = await start(sandbox, { BACKEND_URL: backend.url, REPORT_ADDR: `${dead.url},${sandbox.url}` });
    await isLoaded(sandbox);
    const call = () => fetch(`${worker.url}/x?${toAuthQuery(ticket(sandbox))}`);
    await until('the key is there', async () => ((await call()).status === 200 ? true : undefined));
    await until('a deletion is told', () => sandbox.world.requests.get(1)!.deletions[0]);
    expect(new Set(dead.calls.map(({ url }) => url))).toEqual(
      new Set(['/pubkey/', '/worker_status/', '/delete_requests/']),
    );
  });

  it('may be silent for a while: calls are answered, and what was done is told later', async () => {
    const backend = await startBackend(fine);
    const sandbox = await startSandbox();
    let isDown = false;
    const way = await startBackend(async (res, call) => {
      if (isDown) return answerJson(503, {})(res, call);
      const { method, url, body } = call;
      const answer = await fetch(sandbox.url + url, {
        method,
        headers: { 'Content-Type': 'application/json' },
        ...(method === 'POST' ? { body } : {}),
      });
      res.writeHead(answer.status).end(await answer.text());
    });
    const worker = await start(sandbox, { BACKEND_URL: backend.url, REPORT_ADDR: way.url });
    await isLoaded(sandbox);
    await until('the key is there', async () =>
      (await fetch(`${worker.url}/x?${toAuthQuery(ticket(sandbox))}`)).status === 200 ? true : undefined,
    );
    isDown = true;
    const auth = ticket(sandbox, 30);
    const before = way.calls.length;
    expect((await fetch(`${worker.url}/x?${toAuthQuery(auth)}`)).status).toBe(200);
    await until('it is told in vain', () => way.calls.length > before + 5 || undefined);
    const { deletions } = sandbox.world.requests.get(Number(auth.request_idx))!;
    expect(deletions).toEqual([]);
    isDown = false;
    await until('it is told', () => deletions[0]);
    const reported = () =>
      sandbox.world.workers.get(7)!.reports.reduce((sum, { status }) => sum + (status.new_load as number), 0);
    await until('the load of both is told', () => reported() === 31 || undefined);
    expect(deletions).toEqual([{ workerId: 7, success: true }]);
  });
});

describe('the public key', () => {
  it('may come late: until then a call is told to come back, and touches no number', async () => {
    const backend = await startBackend(fine);
    const sandbox = await startSandbox();
    let isThere = false;
    const keys = await startBackend((res) => {
      if (isThere) res.end(sandbox.world.publicPem);
      else res.writeHead(503).end();
    });
    const worker = await start(sandbox, { BACKEND_URL: backend.url, REPORT_ADDR: `${keys.url},${sandbox.url}/none` });
    sandbox.world.report({ id: 7, mtoken: '', url: 'u', max_perf: 1, cur_load: 0, loadtime: 1, error_msg: '' });
    const call = () => fetch(`${worker.url}/x?${toAuthQuery(ticket(sandbox))}`);
    const early = await call();
    expect([early.status, early.headers.get('retry-after')]).toEqual([503, '5']);
    isThere = true;
    await until('the key is there', async () => ((await call()).status === 200 ? true : undefined));
    expect(keys.calls.filter(({ url }) => url === '/pubkey/').length).toBeGreaterThan(1);
  });
});

describe('many calls of every kind at once', () => {
  it('leave a ledger in which each was ended once, and no load', async () => {
    let number = 0;
    const backend = await startBackend((res, call) => {
      if (call.url === '/health') return void res.end();
      number += 1;
      const kind = number % 5;
      if (kind === 0) return hangUp(res, call);
      if (kind === 1) return void res.writeHead(200, { 'Content-Length': '9' }).write('half', () => res.destroy());
      if (kind === 2) return void res.writeHead(204).end();
      return void setImmediate(() => fine(res, call));
    });
    const sandbox = await startSandbox();
    // What is under way is soon more than a second of work.
    const worker = await start(sandbox, {
      BACKEND_URL: backend.url,
      BENCHMARK: '2',
      MAX_WAIT_TIME: '1',
      MAX_CONCURRENCY: '3',
    });
    await isLoaded(sandbox);
    const statuses = await Promise.all(
      Array.from({ length: 150 }, async (_, index) => {
        const auth = ticket(sandbox, 1 + (index % 7) / 10);
        const gone = new AbortController();
        const body = `{"auth_data": ${toAuthJson(index % 11 === 0 ? { ...auth, signature: '"AAAA"' } : auth)}, "payload": {}}`;
        const answer = fetch(`${worker.url}/x`, { method: 'POST', body, signal: gone.signal });
        if (index % 4 === 0) setImmediate(() => gone.abort());
        try {
          const { status } = await answer;
          await (await answer).text();
          return status;
        } catch {
          return 0;
        }
      }),
    );
    expect(statuses).toEqual(expect.arrayContaining([200, 401, 429]));
    await until('nothing is under way', () => lastOf(sandbox)!.cur_load === 0 || undefined);
    // What was refused for its signature, or left before it had arrived, is nobody's to end.
    const numbers = () => sandbox.world.workers.get(7)!.reports.map(({ status }) => status);
    await until('all of it is told', () => {
      const ended = [...sandbox.world.requests.values()].filter(({ deletions }) => deletions.length > 0);
      return ended.length === lastOf(sandbox)!.num_requests_recieved || undefined;
    });
    for (const { requestIdx, deletions } of sandbox.world.requests.values()) {
      expect([requestIdx, deletions.length <= 1]).toEqual([requestIdx, true]);
    }
    expect(sandbox.world.oddDeletions).toEqual([]);
    expect(lastOf(sandbox)).toMatchObject({ num_requests_working: 0, working_request_idxs: [], cur_load: 0 });
    for (const status of numbers()) expect(status.cur_load).toBeGreaterThanOrEqual(0);
  });
});

describe('VAST_WORKER', () => {
  it.each(['true', '1', ' true '])('as %j is the worker; else this is a gateway', async (value) => {
    const env = { BACKEND_URL: 'http://127.0.0.1:9', AUTH: 'none', UNSECURED: 'true', LOG_LEVEL: 'error' };
    const worker = await createFunction({ ...env, VAST_WORKER: value });
    expect(worker.listen).toEqual({ host: '0.0.0.0', port: 3_000 });
    await worker.close!();
    const gateway = await createFunction({ ...env, VAST_WORKER: 'false' });
    expect(gateway.listen).toBeUndefined();
    await gateway.close!();
  });
});

describe('the port', () => {
  it('is that of WORKER_PORT, for everybody', async () => {
    const worker = createWorker({ BACKEND_URL: 'http://127.0.0.1:9', WORKER_PORT: '3005', LOG_LEVEL: 'error' });
    expect(worker.listen).toEqual({ host: '0.0.0.0', port: 3_005 });
    await worker.close!();
  });
});

/** The rows of the table in docs/vast.md: what the server is called, and the environment of its worker. */
function documentedServers(): [name: string, env: Record<string, string>][] {
  const markdown = readFileSync(join(import.meta.dirname, '../../docs/vast.md'), 'utf8');
  const [, table = ''] = /^\| Server \| Start \| Worker \|\n\|[-| ]+\n((?:\|.*\n)+)/m.exec(markdown) ?? [];
  return table
    .trim()
    .split('\n')
    .map((row) => {
      const [, name = '', , settings = ''] = row.split('|').map((cell) => cell.trim());
      const pairs = settings
        .replaceAll('`', '')
        .split(' ')
        .map((pair) => pair.split('=') as [string, string]);
      return [name, Object.fromEntries(pairs)];
    });
}

/** What each of them answers to its worker: its health, its models, its benchmark, a call. */
const servers: Record<string, { answers: Record<string, object>; call: string; blocked?: string }> = {
  vLLM: {
    answers: {
      '/health': {},
      '/v1/models': { data: [{ id: 'Qwen/Qwen3-8B' }] },
      '/v1/chat/completions': { choices: [], usage: { completion_tokens: 7 } },
    },
    call: '/v1/chat/completions',
  },
  Ollama: {
    answers: {
      '/api/version': { version: '0.11.4' },
      '/api/generate': { response: 'hi', done: true, eval_count: 7 },
      '/api/chat': { message: { role: 'assistant', content: 'hi' }, done: true },
    },
    call: '/api/chat',
    blocked: '/api/pull',
  },
  TGI: {
    answers: {
      '/health': {},
      '/info': { model_id: 'm' },
      '/generate': { generated_text: 'hi', details: { generated_tokens: 7 } },
    },
    call: '/generate',
  },
  'llama.cpp': {
    answers: {
      '/health': { status: 'ok' },
      '/v1/models': { data: [{ id: 'model.gguf' }] },
      '/v1/chat/completions': { choices: [], usage: { completion_tokens: 7 } },
    },
    call: '/v1/chat/completions',
  },
  'ComfyUI with an API wrapper': {
    answers: { '/health': {}, '/generate/sync': { output: [] } },
    call: '/generate/sync',
  },
  anything: { answers: { '/answer': {} }, call: '/answer' },
};

describe('the model servers of docs/vast.md', () => {
  it('are these', () => expect(documentedServers().map(([name]) => name)).toEqual(Object.keys(servers)));

  it.each(documentedServers())(
    '%s: its worker loads with the settings of its row, and passes calls on',
    async (name, env) => {
      const { answers, call, blocked } = servers[name]!;
      const backend = await startBackend((res, { url }) =>
        answerJson(answers[url] === undefined ? 404 : 200, answers[url] ?? {})(res, {} as never),
      );
      const sandbox = await startSandbox();
      const own = env.BENCHMARK!.endsWith('.mjs')
        ? { BENCHMARK: join(import.meta.dirname, '../fixtures/vast/mine.mjs') }
        : {};
      const worker = await start(sandbox, { ...env, ...own, BACKEND_URL: backend.url });
      await isLoaded(sandbox);
      expect(lastOf(sandbox)!.max_perf).toBeGreaterThan(0);
      const post = (path: string) =>
        fetch(worker.url + path, {
          method: 'POST',
          body: `{"auth_data": ${toAuthJson(ticket(sandbox))}, "payload": {"model": "m"}}`,
        });
      const answer = await post(call);
      expect([answer.status, await answer.json()]).toEqual([200, answers[call]]);
      if (blocked !== undefined) expect((await post(blocked)).status).toBe(403);
    },
  );
});
