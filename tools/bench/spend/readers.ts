import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { bundle } from '../../../template/node24-ts/build.mjs';
import { runBundle } from '../../../test/support/bundle-process.ts';
import { cpuMs, peakMib } from '../proxy/process.ts';

const root = join(import.meta.dirname, '../../..');
export const folder = join(root, '.cache', 'bench', 'spend');

/** What a reader of spend took: of its own work, not of its start. */
export interface Reading {
  ms: number;
  /** The most memory that its process ever held. */
  mib: number;
  /** CPU of its work, user and system, which neighbours disturb less than the time. */
  cpuMs: number;
  spendUsd: number;
}

/** The way of a dozen lines that everybody writes first. */
const nodeReader = `const [url] = process.argv.slice(2);
const startedAt = performance.now();
const before = process.cpuUsage();
const rows = await (await fetch(url + '/spend/logs')).json();
let spendUsd = 0;
for (const row of rows) spendUsd += row.spend;
const ms = performance.now() - startedAt;
const { user, system } = process.cpuUsage(before);
const cpuMs = (user + system) / 1000;
console.log(JSON.stringify({ ms, cpuMs, mib: process.resourceUsage().maxRSS / 1024, spendUsd }));
`;

const pythonReader = `import json, resource, sys, time
import requests
started = time.perf_counter()
before = time.process_time()
rows = json.loads(requests.get(sys.argv[1] + "/spend/logs").content)
spend = sum(row["spend"] for row in rows)
ms = (time.perf_counter() - started) * 1000
cpu = (time.process_time() - before) * 1000
print(json.dumps({"ms": ms, "cpuMs": cpu, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "spendUsd": spend}))
`;

const run = promisify(execFile);

async function read(program: string, args: string[]): Promise<Reading> {
  const { stdout } = await run(program, args, { maxBuffer: 1 << 20 });
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Reading;
}

/** A Python with requests: the system's, else one in a folder of ours. */
async function findPython(): Promise<string> {
  const has = (python: string) =>
    run(python, ['-c', 'import requests']).then(
      () => true,
      () => false,
    );
  if (await has('python3')) return 'python3';
  const venv = join(folder, 'venv');
  const python = join(venv, 'bin', 'python');
  if (!existsSync(python)) await run('python3', ['-m', 'venv', venv]);
  if (!(await has(python))) await run(python, ['-m', 'pip', 'install', '--quiet', 'requests']);
  return python;
}

export async function prepareReaders() {
  mkdirSync(folder, { recursive: true });
  const [nodeFile, pythonFile] = [join(folder, 'node.mjs'), join(folder, 'python.py')];
  writeFileSync(nodeFile, nodeReader);
  writeFileSync(pythonFile, pythonReader);
  const entry = join(folder, 'function.cjs');
  await bundle({ entry: join(root, 'functions/llm-global-spend/index.ts'), outfile: entry });
  const python = await findPython();
  return {
    node: (url: string) => read(process.execPath, [nodeFile, url]),
    python: (url: string) => read(python, [pythonFile, url]),
    ours: (url: string, query: string, directory: string) => askDeployed(entry, { url, query, directory }),
  };
}

/** The function as it is deployed, in a new process, asked once. `directory` holds what it remembers. */
async function askDeployed(
  entry: string,
  options: { url: string; query: string; directory: string },
): Promise<Reading> {
  mkdirSync(options.directory, { recursive: true });
  const { port, child, exited } = await runBundle(entry, {
    AUTH: 'none',
    LITELLM_API_BASE_URL: options.url,
    LITELLM_API_KEY: 'bench',
    LITELLM_EPOCH: '2024-12-01',
    ALLOW_FULL_SCAN: 'true',
    LITELLM_TIMEOUT_MS: '600000',
    SPEND_DEADLINE_MS: '3600000',
    TMPDIR: options.directory,
    LOG_LEVEL: 'info',
  });
  try {
    const before = cpuMs(child.pid!);
    const startedAt = performance.now();
    const response = await fetch(`http://127.0.0.1:${port}/?${options.query}`);
    const answer = (await response.json()) as { spend_usd: number; complete: boolean };
    const ms = performance.now() - startedAt;
    if (response.status !== 200 || !answer.complete) throw new Error(JSON.stringify(answer).slice(0, 500));
    return { ms, cpuMs: cpuMs(child.pid!) - before, mib: peakMib(child.pid!), spendUsd: answer.spend_usd };
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
}

export interface Upstream {
  url: string;
  calls(): Promise<number>;
  close(): void;
}

export async function startUpstream(mode: 'dump' | 'pages' | 'tables', size: number): Promise<Upstream> {
  const file = join(import.meta.dirname, 'upstream.ts');
  const child = spawn(process.execPath, [file, mode, String(size)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const port = await new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (text) => resolve(String(text).trim()));
    child.once('exit', (code) => reject(new Error(`the upstream ended with ${code}`)));
  });
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    calls: async () => (await (await fetch(`${url}/_calls`)).json()) as number,
    close: () => void child.kill(),
  };
}
