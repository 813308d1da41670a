import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, openSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { bundle } from '../../template/node24-ts/build.mjs';
import { atLeast, type Bench, inTurns, median, type Row, ratioOf } from './harness.ts';
import { load, quantile, toRequest } from './proxy/load.ts';
import { cpuMs } from './proxy/process.ts';

const root = join(import.meta.dirname, '../..');
const folder = join(root, '.cache', 'bench');
const path = '/v1/chat/completions';
const messages = [{ role: 'user', content: 'z'.repeat(300) }];

interface Contender {
  name: string;
  port: number;
  pids: number[];
}

/** An autoscaler that knows one worker: the signature is over its address alone, and so made once. */
async function startAutoscaler(workerUrl: () => string) {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  let calls = 0;
  let signature = '';
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      if (request.url === '/pubkey/') return response.end(publicKey.export({ type: 'spki', format: 'pem' }));
      if (request.url !== '/route/') return response.end('{}');
      const url = workerUrl();
      signature ||= sign('sha256', Buffer.from(`{\n    "url": "${url}"\n}`), privateKey).toString('base64');
      calls += 1;
      return response.end(
        `{"endpoint": "bench", "url": "${url}", "cost": 100.0, "reqnum": ${calls}, "request_idx": ${calls}, "signature": "${signature}"}`,
      );
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}

/** Starts the bundle; its log goes to a file, of which the port is read once it listens. */
async function run(name: string, file: string, env: Record<string, string>, ready: string): Promise<ChildProcess> {
  const log = openSync(join(folder, `${name}.log`), 'w');
  const child = spawn(process.execPath, [file], {
    env: { PATH: process.env.PATH, AUTH: 'none', SSE_PING_S: '0', HISTORY_DAYS: '0', ...env },
    stdio: ['ignore', log, log],
  });
  const deadline = performance.now() + 20_000;
  for (;;) {
    const answer = await fetch(ready).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer?.ok) return child;
    if (child.exitCode !== null || performance.now() > deadline) throw new Error(`${name} did not start`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function startField(children: ChildProcess[]) {
  mkdirSync(folder, { recursive: true });
  const mock = spawn(process.execPath, [join(import.meta.dirname, 'proxy/mock.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(mock);
  const [line] = (await once(createInterface({ input: mock.stdout }), 'line')) as [string];
  const backendPort = Number(line);
  const file = join(folder, 'completion-proxy', 'index.cjs');
  await bundle({ entry: join(root, 'functions/completion-proxy/index.ts'), outfile: file });
  const [plainPort, workerPort, clientPort] = [await freePort(), await freePort(), await freePort()];
  const autoscaler = await startAutoscaler(() => `http://127.0.0.1:${workerPort}`);
  const worker = {
    VAST_WORKER: 'true',
    WORKER_HOST: '127.0.0.1',
    BACKEND_URL: `http://127.0.0.1:${backendPort}`,
    BENCHMARK: '1000000000',
    BENCHMARK_CACHE_FILE: '/dev/null',
  };
  const ping = (port: number) => `http://127.0.0.1:${port}/ping`;
  const plain = { ...worker, WORKER_PORT: String(plainPort), UNSECURED: 'true' };
  children.push(await run('vast-plain', file, plain, ping(plainPort)));
  const reporting = {
    ...worker,
    WORKER_PORT: String(workerPort),
    REPORT_ADDR: autoscaler.url,
    CONTAINER_ID: '1',
    PUBLIC_IPADDR: '127.0.0.1',
    [`VAST_TCP_PORT_${workerPort}`]: String(workerPort),
  };
  children.push(await run('vast-worker', file, reporting, ping(workerPort)));
  const client = {
    PORT: String(clientPort),
    VAST_URL: autoscaler.url,
    VAST_ENDPOINT: 'bench',
    VAST_API_KEY: 'bench',
  };
  children.push(await run('vast-client', file, client, ping(clientPort)));
  const [, plainPid, workerPid, clientPid] = children.map(({ pid }) => pid!);
  const contenders: Contender[] = [
    { name: 'direct', port: backendPort, pids: [] },
    { name: 'worker', port: plainPort, pids: [plainPid!] },
    { name: 'client and worker', port: clientPort, pids: [workerPid!, clientPid!] },
  ];
  return { contenders, autoscaler };
}

async function measure({ port, pids, name }: Contender, body: object) {
  const request = toRequest(path, { 'Content-Type': 'application/json' }, Buffer.from(JSON.stringify(body)));
  const before = pids.map(cpuMs);
  const { perSecond, timings } = await load(port, request, { connections: 50, ms: 1_200 });
  const spent = pids.reduce((sum, pid, index) => sum + cpuMs(pid) - before[index]!, 0);
  const all = timings.map(({ ms }) => ms);
  if (all.length === 0) throw new Error(`${name} answered nothing`);
  return { perSecond, p50: quantile(all, 0.5), p99: quantile(all, 0.99), cpu: spent / all.length };
}

/** What Vast's way costs a call: a ticket, its signature, the wrapping and the unwrapping, against the backend alone. */
export const bench: Bench = async (report) => {
  const children: ChildProcess[] = [];
  try {
    const { contenders, autoscaler } = await startField(children);
    for (const { name, port } of contenders) {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ model: 'fast', messages }),
      });
      if (!answer.ok || !(await answer.text()).includes('y'.repeat(800)))
        throw new Error(`${name} gave another answer`);
    }
    report('vast: everyone gives the same answer; 1 KB JSON and 50-chunk SSE, 4 rounds in turn');
    const fast = { model: 'fast', messages };
    const json = await inTurns(contenders, 4, (it) => measure(it, fast));
    const sse = await inTurns(contenders, 4, (it) => measure(it, { ...fast, stream: true }));
    autoscaler.close();
    const rows: Row[] = [['JSON 1 KB', json] as const, ['SSE 50 chunks', sse] as const].flatMap(([title, samples]) =>
      (['perSecond', 'p50', 'p99', 'cpu'] as const).flatMap((metric) =>
        contenders.map(({ name }) => ({
          name,
          measure: `${title} ${metric}`,
          unit: metric === 'perSecond' ? 'calls/s' : metric === 'cpu' ? 'ms/call' : 'ms',
          median: median(samples.get(name)![metric]!),
          ratio: ratioOf(samples, metric, name, 'direct'),
        })),
      ),
    );
    return {
      bench: 'vast',
      rows,
      targets: [
        atLeast(
          'JSON: calls per second of the worker against direct',
          ratioOf(json, 'perSecond', 'worker', 'direct'),
          0.15,
        ),
        atLeast(
          'JSON: calls per second of client and worker against direct',
          ratioOf(json, 'perSecond', 'client and worker', 'direct'),
          0.05,
        ),
        atLeast(
          'SSE: streams per second of client and worker against direct',
          ratioOf(sse, 'perSecond', 'client and worker', 'direct'),
          0.1,
        ),
      ],
    };
  } finally {
    for (const child of children) child.kill('SIGKILL');
  }
};
