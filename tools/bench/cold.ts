import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { startLagoSandbox } from '../../sandbox/lago.ts';
import { startLitellmSandbox } from '../../sandbox/litellm.ts';
import { startOllamaSandbox } from '../../sandbox/ollama.ts';
import { startPortainerSandbox } from '../../sandbox/portainer.ts';
import { bundle } from '../../template/node24-ts/build.mjs';
import { warmUp } from '../build.ts';
import { atMost, type Bench, type BenchReport, sideBySide } from './harness.ts';

const root = join(import.meta.dirname, '../..');
const folder = join(root, '.cache', 'bench');
const rounds = 15;

const hello = `const http = require('node:http');
http.createServer((req, res) => res.end('hello')).listen(Number(process.env.PORT), process.env.HOST);
`;

interface Call {
  method: string;
  path: string;
  body?: string;
}

/** The call whose answer counts as each function's first real one: all the way to its upstream and back. */
const firstCalls: Record<string, Call> = {
  'completion-proxy': { method: 'GET', path: '/api/version' },
  'lago-usage-push': { method: 'POST', path: '/', body: '{}' },
  'llm-global-spend': { method: 'GET', path: '/' },
  'spot-start-service': { method: 'POST', path: '/', body: '{"service":"n8n"}' },
};

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

const statusOf = (port: number, { method, path, body }: Call) =>
  new Promise<number>((resolve) => {
    const headers = body === undefined ? {} : { 'Content-Type': 'application/json' };
    request({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0));
    })
      .on('error', () => resolve(0))
      .end(body);
  });

interface ColdStart {
  readyMs: number;
  /** Resident memory of a process that nobody called, once it has loaded all that it loads by itself. */
  idleMb: number;
  firstAnswerMs: number;
}

/**
 * One process: its first 200 on `/_/ready`, asked every 2 ms or so, and then either the end of its first real answer or the
 * memory that it holds a second later.
 */
async function coldStart(file: string, env: Record<string, string>, first: Call | undefined): Promise<ColdStart> {
  const port = await freePort();
  const startedAt = performance.now();
  const child = spawn(process.execPath, [file], {
    env: { PATH: process.env.PATH, ...env, HOST: '127.0.0.1', PORT: String(port) },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exit = once(child, 'exit');
  try {
    while ((await statusOf(port, { method: 'GET', path: '/_/ready' })) !== 200) {
      if (child.exitCode !== null) throw new Error(`${file} ended with ${child.exitCode} before it was ready`);
      if (performance.now() - startedAt > 20_000) throw new Error(`${file} was not ready within 20 s`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    const readyMs = performance.now() - startedAt;
    if (first === undefined) await new Promise((resolve) => setTimeout(resolve, 1_000));
    const resident = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1];
    const idleMb = Number(resident) / 1024;
    if (first === undefined) return { readyMs, idleMb, firstAnswerMs: Number.NaN };
    const calledAt = performance.now();
    const status = await statusOf(port, first);
    if (status !== 200) throw new Error(`${file}: the first call was answered ${status}`);
    return { readyMs, idleMb, firstAnswerMs: readyMs + performance.now() - calledAt };
  } finally {
    child.kill('SIGKILL');
    await exit;
  }
}

const measures: [key: keyof ColdStart, unit: string, limit: number][] = [
  ['readyMs', 'ms to ready', 1.3],
  ['firstAnswerMs', 'ms to the first answer', 1.7],
  ['idleMb', 'MB before the first call', 1.3],
];

/** Each function's start, first answer and idle memory beside a Node server that only says hello, as its image starts it. */
export const bench: Bench = async (report) => {
  const litellm = await startLitellmSandbox();
  const portainer = await startPortainerSandbox();
  const lago = await startLagoSandbox();
  const ollama = await startOllamaSandbox();
  try {
    const env = {
      AUTH: 'none',
      LOG_LEVEL: 'error',
      LITELLM_API_BASE_URL: litellm.url,
      ...litellm.credentials,
      PORTAINER_API_URL: portainer.url,
      ...portainer.credentials,
      LAGO_API_BASE: lago.url,
      LAGO_API_EVENT_CODE: 'llm',
      ...lago.credentials,
      BACKEND_URL: ollama.url,
    };
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'hello.cjs'), hello);
    const programs: { name: string; file: string; first: Call }[] = [
      { name: 'hello', file: join(folder, 'hello.cjs'), first: { method: 'GET', path: '/' } },
    ];
    for (const [name, first] of Object.entries(firstCalls)) {
      const source = join(root, 'functions', name);
      const outfile = join(folder, name, 'index.cjs');
      await bundle({ entry: join(source, 'index.ts'), outfile });
      programs.push({ name, file: await warmUp(outfile, source), first });
    }

    const result: BenchReport = { bench: 'cold', rows: [], targets: [] };
    for (const [key, unit, limit] of measures) {
      report(`cold: ${programs.length} programs, ${rounds} rounds in turn, ${unit}`);
      const contenders = programs.map(({ name, file, first }) => ({
        name,
        measure: async () => (await coldStart(file, env, key === 'idleMb' ? undefined : first))[key],
      }));
      const rows = await sideBySide(contenders, { rounds, unit });
      result.rows.push(...rows);
      result.targets.push(
        ...rows.slice(1).map(({ name, ratio }) => atMost(`${name}: ${unit}, against hello`, ratio, limit)),
      );
    }
    return result;
  } finally {
    await Promise.all([litellm, portainer, lago, ollama].map((upstream) => upstream.close()));
  }
};
