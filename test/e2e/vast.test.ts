import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startVastSandbox, type VastSandbox } from '../../sandbox/vast.ts';
import { type BundleProcess, runBundle, until } from '../support/bundle-process.ts';
import { createAuthority, createServerCertificate } from '../support/certificate.ts';
import { buildProxy, type ProxyBundle } from '../support/proxy-bundle.ts';
import { chatChunk, type ScriptedBackend, startScriptedBackend } from '../support/scripted-backend.ts';
import { freePort, vastEnv } from '../support/vast-worker.ts';

let bundle: ProxyBundle;
let sandbox: VastSandbox;
let folder: string;
let client: { url: string; lines: string[] };
const workers = new Map<number, BundleProcess & { backend: Backend }>();
/** Of every process, also of those that are gone. */
const logs: string[][] = [];

/** A model's server that can be well or not, and holds its answers back while it is told to. */
interface Backend {
  server: ScriptedBackend;
  isWell: boolean;
  isHeld: boolean;
  release(): void;
}

async function startBackend(): Promise<Backend> {
  const held: (() => void)[] = [];
  const server = await startScriptedBackend((res, call) => {
    if (!backend.isWell) return void res.destroy();
    if (call.url === '/health') return void res.end('ok');
    const body = JSON.parse(call.body.toString()) as { stream?: boolean };
    const answer = () => {
      if (body.stream === true) {
        res.writeHead(200, { 'Content-Type': 'text/event-stream' });
        res.write(chatChunk('begun'));
      } else
        res.writeHead(200, { 'Content-Type': 'application/json' }).end('{"choices":[{"message":{"content":"hi"}}]}');
    };
    return void (backend.isHeld ? held.push(answer) : answer());
  });
  const backend: Backend = {
    server,
    isWell: true,
    isHeld: false,
    release() {
      backend.isHeld = false;
      for (const answer of held.splice(0)) answer();
    },
  };
  return backend;
}

async function startWorker(id: number) {
  const backend = await startBackend();
  const port = await freePort();
  const worker = await runBundle(bundle.file, {
    ...vastEnv(sandbox, id, port),
    VAST_WORKER: 'true',
    WORKER_HOST: '127.0.0.1',
    BACKEND_URL: backend.server.url,
    BENCHMARK: '50',
    VAST_REPLAY_CHECK: id === 3 ? 'true' : 'false',
    BENCHMARK_CACHE_FILE: join(folder, `cache-${id}`),
    LOG_LEVEL: 'debug',
  });
  workers.set(id, { ...worker, backend });
  logs.push(worker.lines);
  await until('the worker is loaded', () => sandbox.world.workers.get(id)?.isLoaded || undefined);
}

const lastOf = (id: number) => sandbox.world.workers.get(id)!.reports.at(-1)!.status;
const errorOf = (id: number) => (lastOf(id).error_msg === '' ? undefined : lastOf(id).error_msg);
const chat = (body: object = {}, headers: Record<string, string> = {}, signal: AbortSignal | null = null) =>
  fetch(`${client.url}/v1/chat/completions`, {
    method: 'POST',
    signal,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'm', prompt: 'a prompt that nobody else may read', max_tokens: 100, ...body }),
  });
const requests = () => [...sandbox.world.requests.values()];
/** Everything that was given out and answered has been told, by every worker that is there. */
const isSettled = (isThere: (id: number) => boolean = () => true) =>
  requests().every(({ given, deletions, isOpen }) => {
    const living = given.filter(({ workerId }) => isThere(workerId)).length;
    const told = deletions.filter(({ workerId }) => isThere(workerId)).length;
    return (!isOpen || living < given.length) && living === told;
  }) || undefined;
const post = (url: string, body: string) =>
  fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
/** A ticket for one worker, as the autoscaler gives it out. */
const ticketFor = (id: number) => ({
  url: lastOf(id).url,
  auth: sandbox.world.route(sandbox.world.endpoints[0]!, 1, undefined, id),
});
const wrapped = (auth: string) => `{"auth_data": ${auth}, "payload": {"model": "m"}}`;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vast-e2e-'));
  bundle = await buildProxy();
  sandbox = await startVastSandbox();
  client = await bundle.start({
    AUTH: 'none',
    VAST_URL: sandbox.url,
    VAST_ENDPOINT: 'my-endpoint',
    VAST_API_KEY: sandbox.credentials['vast-api-key'],
    BREAKER_FAILURES: '0',
    HISTORY_DAYS: '0',
    SSE_PING_S: '0',
    LOG_LEVEL: 'debug',
  });
  logs.push(client.lines);
});
afterAll(async () => {
  for (const { child, exited, backend } of workers.values()) {
    child.kill('SIGKILL');
    await exited;
    await backend.server.close();
  }
  await bundle?.close();
  await sandbox?.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('client, autoscaler, three workers and their backends', () => {
  it('cold start: 503 for who cannot wait, an answer for who can', async () => {
    const refused = await chat({}, { Prefer: 'wait=0' });
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '15']);
    const waiting = chat();
    await startWorker(1);
    expect((await waiting).status).toBe(200);
    await Promise.all([startWorker(2), startWorker(3)]);
    const reports = sandbox.world.workers.get(2)!.reports.map(({ status }) => status);
    expect([reports[0]!.max_perf, reports.at(-1)!.max_perf]).toEqual([0, 50]);
    expect(reports.filter(({ loadtime }) => loadtime > 0)).toHaveLength(1);
  });

  it('overload: what one worker refuses another takes, under the same number', async () => {
    for (const { backend } of workers.values()) backend.isHeld = true;
    const under = () => [...workers.keys()].reduce((sum, id) => sum + (lastOf(id).num_requests_working as number), 0);
    // 600 tokens at 50 a second are 12 seconds of work, which is more than the 10 that a worker lets wait.
    const first = [1, 2, 3].map(() => chat({ max_tokens: 600 }));
    await until('each works', () => (under() === 3 ? true : undefined));
    const late = chat({ max_tokens: 10 });
    await until('it was refused twice', () => requests().at(-1)!.given.length >= 2 || undefined);
    for (const { backend } of workers.values()) backend.release();
    const answers = await Promise.all([...first, late]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    await until('all is told', () => isSettled());
    const request = requests().at(-1)!;
    expect(request.deletions.filter(({ success }) => success)).toHaveLength(1);
    expect(request.deletions.at(-1)!.success).toBe(true);
  });

  it('a wrong signature moves no number', async () => {
    const before = requests().length;
    const { url } = lastOf(1);
    const given = () => requests().flatMap((request) => request.given.filter(({ workerId }) => workerId === 1)).length;
    const isCounted = () => lastOf(1).num_requests_recieved === given() || undefined;
    await until('what it was given is counted', isCounted);
    const auth =
      '{"cost": 1.0, "endpoint": "my-endpoint", "reqnum": 9, "request_idx": 1, "signature": "AAAA", "url": "x"}';
    expect((await post(url, wrapped(auth))).status).toBe(401);
    const ok = ticketFor(1);
    expect((await post(url, wrapped(ok.auth))).status).toBe(200);
    await until('the good one is told', () => isSettled());
    expect(requests()).toHaveLength(before + 1);
    await until('the good one alone is counted', isCounted);
    expect(sandbox.world.oddDeletions).toEqual([]);
  });

  it('a request that is sent again is served again, and told once; with the replay check it is refused', async () => {
    const [lenient, strict] = [ticketFor(1), ticketFor(3)];
    const twice = async ({ url, auth }: { url: string; auth: string }) => [
      (await post(url, wrapped(auth))).status,
      (await post(url, wrapped(auth))).status,
    ];
    expect([await twice(lenient), await twice(strict)]).toEqual([
      [200, 200],
      [200, 401],
    ]);
    await until('all is told', () => isSettled());
    expect(sandbox.world.oddDeletions).toEqual([]);
  });

  it('key rotation: the next ticket is checked with the new key', async () => {
    sandbox.world.rotateKey();
    expect((await chat()).status).toBe(200);
    sandbox.world.signatureForm = 'five-fields';
    expect((await chat()).status).toBe(200);
    await until('all is told', () => isSettled());
  });

  it('backend crash and recovery: the worker says so, gets nothing, and is given calls again', async () => {
    const { backend } = workers.get(1)!;
    backend.isWell = false;
    expect(await until('the error is told', () => errorOf(1))).toContain('3 consecutive healthchecks');
    const before = backend.server.calls.filter(({ url }) => url !== '/health').length;
    for (let call = 0; call < 4; call++) expect((await chat()).status).toBe(200);
    expect(backend.server.calls.filter(({ url }) => url !== '/health')).toHaveLength(before);
    backend.isWell = true;
    await until('it is well again', () => (errorOf(1) === undefined ? true : undefined));
    await until('it works again', async () => {
      await chat();
      return backend.server.calls.filter(({ url }) => url !== '/health').length > before || undefined;
    });
    await until('all is told', () => isSettled());
  });

  it('a lost worker in the middle of a stream: the caller sees it, and the next call is somewhere else', async () => {
    const answer = await chat({ stream: true });
    const reader = answer.body!.getReader();
    expect(Buffer.from((await reader.read()).value!).toString()).toContain('begun');
    const lost = requests().at(-1)!.given.at(-1)!.workerId;
    const { child, exited } = workers.get(lost)!;
    child.kill('SIGKILL');
    await exited;
    let rest = '';
    for (let part = await reader.read(); !part.done; part = await reader.read())
      rest += Buffer.from(part.value).toString();
    expect(rest).toContain('"error"');
    // The autoscaler does not know yet: what it still gives to that worker goes on to another one.
    for (let call = 0; call < 4; call++) expect((await chat()).status).toBe(200);
    await until('the living have told all', () => isSettled((id) => id !== lost));
    sandbox.world.staleMs = 1;
    sandbox.world.writeOff();
    sandbox.world.staleMs = 30_000;
    expect(requests().filter(({ isOpen }) => isOpen)).toEqual([]);
    workers.delete(lost);
  });

  it('a caller who leaves: the backend stops, and the load comes back to nothing', async () => {
    for (const { backend } of workers.values()) backend.isHeld = true;
    const gone = new AbortController();
    const answer = chat({}, {}, gone.signal).catch(() => 'gone');
    const busy = await until('a worker has it', () =>
      [...workers.keys()].find((id) => lastOf(id).num_requests_working === 1),
    );
    gone.abort();
    expect(await answer).toBe('gone');
    await until('the worker tells', () => (lastOf(busy).cur_load === 0 ? true : undefined));
    await until('it is ended', () => requests().at(-1)!.deletions[0]);
    expect(requests().at(-1)).toMatchObject({ isOpen: false, deletions: [{ workerId: busy, success: true }] });
    const { calls } = workers.get(busy)!.backend.server;
    await until('the backend stops', () =>
      calls.findLast(({ url }) => url !== '/health')!.aborted ? true : undefined,
    );
    for (const { backend } of workers.values()) backend.release();
  });

  it('shutdown: a worker ends its work, tells the last of it and exits 0; the ledger agrees', async () => {
    const [id, { child, exited, backend, lines }] = [...workers][0]!;
    backend.isHeld = true;
    const { url, auth } = ticketFor(id);
    const answer = post(url, wrapped(auth));
    await until('it works', () => (lastOf(id).num_requests_working === 1 ? true : undefined));
    child.kill('SIGTERM');
    await until('it has heard', () => lines.find((line) => line.includes('"msg":"stopping"')));
    backend.release();
    expect((await answer).status).toBe(200);
    expect(await exited).toBe(0);
    for (const other of workers.keys())
      await until('nothing is under way', () => (lastOf(other).cur_load === 0 ? true : undefined));
    expect(sandbox.world.oddDeletions).toEqual([]);
    for (const { requestIdx, deletions, isOpen } of requests()) {
      const good = deletions.filter(({ success }) => success).length;
      expect({ requestIdx, isOpen, once: good <= 1 }).toEqual({ requestIdx, isOpen: false, once: true });
    }
    for (const worker of sandbox.world.workers.keys()) expect(sandbox.world.loadOf(worker)).toBe(0);
    workers.delete(id);
    await backend.server.close();
  });
});

describe('the logs of all of them', () => {
  it('hold no key, no token, no signature and no word of a prompt', () => {
    const all = logs.flat().join('\n');
    expect(all).toContain('"msg":"call"');
    for (const [name, secret] of Object.entries(sandbox.credentials)) {
      expect([name, all.includes(secret)]).toEqual([name, false]);
    }
    expect(all).not.toMatch(/serverless_|signature"|[A-Za-z0-9+/]{300}/);
    expect(all).not.toContain('a prompt that nobody else may read');
  });
});

describe('node index.cjs --self-test', () => {
  it('sends a signed call through the running worker and says which form matched', async () => {
    const [id, worker] = [...workers][0]!;
    // The autoscaler does not know yet that the others are gone, and would name them.
    for (const gone of sandbox.world.workers.keys()) if (gone !== id) sandbox.world.workers.delete(gone);
    const run = async (more: Record<string, string> = {}) => {
      const child = spawn(process.execPath, [bundle.file, '--self-test'], {
        env: {
          ...vastEnv(sandbox, id, worker.port),
          WORKER_HOST: '127.0.0.1',
          VAST_ENDPOINT: 'my-endpoint',
          VAST_API_KEY: sandbox.credentials['vast-api-key'],
          ...more,
        },
      });
      let text = '';
      child.stdout.on('data', (chunk) => (text += chunk));
      const code = await new Promise((resolve) => child.once('close', resolve));
      return { code, text };
    };
    expect(await run()).toEqual({
      code: 0,
      text:
        'the signature matches: five-fields\nVAST_SIGNATURE_FORM accepts: url, five-fields\n' +
        'the worker answered 200, and took the form five-fields\n',
    });
    const moved = await run({ PUBLIC_IPADDR: '1.2.3.4' });
    expect([moved.code, moved.text]).toEqual([
      0,
      expect.stringContaining('the ticket is for another worker: http://127'),
    ]);
    sandbox.world.signatureForm = 'four-fields';
    const refused = await run();
    expect([refused.code, refused.text]).toEqual([1, expect.stringContaining('the signature matches: four-fields')]);
    expect(refused.text).toContain('the worker answered 401');
    expect((await run({ VAST_ENDPOINT: '' })).code).toBe(1);
  });
});

describe('a worker with USE_SSL', () => {
  it("answers with the certificate that Vast's authority signed, on its own port", async () => {
    const authority = createAuthority();
    const { key, cert } = createServerCertificate(authority);
    const files = { VAST_CERT_FILE: join(folder, 'instance.crt'), VAST_KEY_FILE: join(folder, 'instance.key') };
    writeFileSync(files.VAST_CERT_FILE, cert);
    writeFileSync(files.VAST_KEY_FILE, key);
    const port = await freePort();
    const env = { VAST_WORKER: 'true', UNSECURED: 'true', USE_SSL: 'true', WORKER_HOST: '127.0.0.1', ...files };
    const worker = await runBundle(bundle.file, { ...env, WORKER_PORT: String(port) });
    const answer = await new Promise<string>((resolve, reject) => {
      get({ host: '127.0.0.1', port, path: '/ping', ca: authority.cert }, (response) => {
        response.setEncoding('utf8').once('data', resolve);
      }).once('error', reject);
    });
    expect([worker.port, answer]).toEqual([port, 'pong']);
    worker.child.kill('SIGKILL');
    await worker.exited;
  });
});

describe('a worker that cannot start', () => {
  it('names what is missing, and exits 1', async () => {
    const { exited, lines } = await runBundle(bundle.file, { VAST_WORKER: 'true', REPORT_ADDR: 'http://127.0.0.1:9' });
    expect(await exited).toBe(1);
    for (const name of ['CONTAINER_ID', 'PUBLIC_IPADDR', 'VAST_TCP_PORT_3000']) expect(lines.join()).toContain(name);
    const tls = await runBundle(bundle.file, { VAST_WORKER: 'true', USE_SSL: 'true', VAST_CERT_FILE: '/none' });
    expect([await tls.exited, tls.lines.join()]).toEqual([1, expect.stringContaining('VAST_CERT_FILE')]);
    expect(existsSync('/none')).toBe(false);
  });
});
