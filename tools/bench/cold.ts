import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { bundle } from '../../template/node24-ts/build.mjs';
import { atMost, type Bench, type Contender, sideBySide } from './harness.ts';

const root = join(import.meta.dirname, '../..');
const folder = join(root, '.cache', 'bench');

/** A guard against a library loaded at start; the aim, 1.3, needs a compile cache. */
const limit = 2.5;

/** Enough for every function to start; nothing is called. */
const settings = {
  AUTH: 'none',
  LITELLM_API_BASE_URL: 'http://127.0.0.1:9',
  LITELLM_API_KEY: 'bench',
  PORTAINER_API_URL: 'http://127.0.0.1:9',
  PORTAINER_USERNAME: 'bench',
  PORTAINER_PASSWORD: 'bench',
  LAGO_API_BASE: 'http://127.0.0.1:9',
  LAGO_API_KEY: 'bench',
  LAGO_API_EVENT_CODE: 'bench',
  OLLAMA_URL: 'http://127.0.0.1:9',
  LOG_LEVEL: 'error',
};

const hello = `const http = require('node:http');
http.createServer((req, res) => res.end('hello')).listen(Number(process.env.PORT), process.env.HOST);
`;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

const answers = (port: number) =>
  new Promise<boolean>((resolve) => {
    get({ host: '127.0.0.1', port, path: '/_/ready', agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    }).on('error', () => resolve(false));
  });

/** Milliseconds from the start of the process to its first 200 on `/_/ready`, asked every 2 ms or so. */
async function startUp(file: string): Promise<number> {
  const port = await freePort();
  const startedAt = performance.now();
  const child = spawn(process.execPath, [file], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...settings, HOST: '127.0.0.1', PORT: String(port) },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exit = once(child, 'exit');
  try {
    while (!(await answers(port))) {
      if (child.exitCode !== null) throw new Error(`${file} ended with ${child.exitCode} before it was ready`);
      if (performance.now() - startedAt > 20_000) throw new Error(`${file} was not ready within 20 s`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return performance.now() - startedAt;
  } finally {
    child.kill('SIGKILL');
    await exit;
  }
}

/** Each function's start beside a Node server that only says hello. */
export const bench: Bench = async (report) => {
  mkdirSync(folder, { recursive: true });
  const helloFile = join(folder, 'hello.cjs');
  writeFileSync(helloFile, hello);
  const contenders: Contender[] = [{ name: 'hello', measure: () => startUp(helloFile) }];
  for (const name of readdirSync(join(root, 'functions'))) {
    const outfile = join(folder, name, 'index.cjs');
    await bundle({ entry: join(root, 'functions', name, 'index.ts'), outfile });
    contenders.push({ name, measure: () => startUp(outfile) });
  }
  report(`cold: ${contenders.length} programs, 15 rounds in turn`);
  const rows = await sideBySide(contenders, { rounds: 15, unit: 'ms to ready' });
  const targets = rows.slice(1).map(({ name, ratio }) => atMost(`${name}: start against hello`, ratio, limit));
  return { bench: 'cold', rows, targets };
};
