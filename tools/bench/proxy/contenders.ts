import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { bundle } from '../../../template/node24-ts/build.mjs';

const root = join(import.meta.dirname, '../../..');
const folder = join(root, '.cache', 'bench');

export interface Contender {
  name: string;
  port: number;
  headers: Record<string, string>;
  /** Undefined for the backend itself. */
  pid: number | undefined;
}

export interface Field {
  contenders: Contender[];
  backendPort: number;
  stop(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Runs a program of ours that prints its port. */
async function runPrinting(file: string, args: string[] = []): Promise<[ChildProcess, number]> {
  const child = spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: child.stdout! })) return [child, Number(line)];
  throw new Error(`${file} ended before it printed its port`);
}

async function untilListening(name: string, child: ChildProcess, port: number): Promise<void> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${port}/_/ready`).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer !== undefined) return;
    if (child.exitCode !== null || performance.now() > deadline) {
      throw new Error(`${name} did not start: see ${join(folder, `${name}.log`)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Its log goes to a file, as into a container's: a pipe would have to be read, on the same two cores. */
function runLogging(name: string, command: string, args: string[], env: Record<string, string>): ChildProcess {
  const log = openSync(join(folder, `${name}.log`), 'w');
  return spawn(command, args, {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ['ignore', log, log],
  });
}

const nginxConfig = (prefix: string, port: number, backendPort: number) => `
daemon off; master_process off; pid ${prefix}/nginx.pid; error_log ${prefix}/error.log;
events { worker_connections 4096; }
http {
  access_log off; client_max_body_size 100m; keepalive_requests 1000000;
  client_body_temp_path ${prefix}/body; proxy_temp_path ${prefix}/proxy; fastcgi_temp_path ${prefix}/fastcgi;
  uwsgi_temp_path ${prefix}/uwsgi; scgi_temp_path ${prefix}/scgi;
  upstream backend { server 127.0.0.1:${backendPort}; keepalive 600; keepalive_requests 1000000; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off;
    }
  }
}`;

/** The rival's own folder of packages, installed from its lock file once and again when the lock changes. */
function installPortkey(report: (line: string) => void): string {
  const target = join(folder, 'portkey');
  const lock = join(import.meta.dirname, '../portkey');
  const mark = join(target, 'installed.json');
  const wanted = execFileSync('sha256sum', [join(lock, 'package-lock.json')], { encoding: 'utf8' }).slice(0, 64);
  const program = join(target, 'node_modules/@portkey-ai/gateway/build/start-server.js');
  if (existsSync(mark) && existsSync(program) && execFileSync('cat', [mark], { encoding: 'utf8' }) === wanted)
    return program;
  report('proxy: installing @portkey-ai/gateway, once');
  cpSync(lock, target, { recursive: true });
  execFileSync('npm', ['ci', '--ignore-scripts', '--no-fund', '--no-audit'], {
    cwd: target,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  writeFileSync(mark, wanted);
  return program;
}

/** The backend, and everyone in front of it, each a process of its own. */
export async function startField(report: (line: string) => void): Promise<Field> {
  mkdirSync(folder, { recursive: true });
  const children: ChildProcess[] = [];
  const stop = async () => {
    for (const child of children) {
      const exit = once(child, 'exit');
      if (child.exitCode === null && child.kill('SIGKILL')) await exit;
    }
  };
  try {
    const [mock, backendPort] = await runPrinting(join(import.meta.dirname, 'mock.ts'));
    children.push(mock);
    const backend = `http://127.0.0.1:${backendPort}`;
    const contenders: Contender[] = [{ name: 'direct', port: backendPort, headers: {}, pid: undefined }];
    const add = async (name: string, port: number, child: ChildProcess, headers: Record<string, string> = {}) => {
      children.push(child);
      await untilListening(name, child, port);
      contenders.push({ name, port, headers, pid: child.pid! });
    };

    const nginx = ['/usr/sbin/nginx', '/usr/bin/nginx'].find(existsSync);
    if (nginx === undefined) report('proxy: without nginx; apt-get install nginx-light adds it');
    else {
      const port = await freePort();
      const prefix = join(folder, 'nginx');
      mkdirSync(prefix, { recursive: true });
      writeFileSync(join(prefix, 'nginx.conf'), nginxConfig(prefix, port, backendPort));
      const args = ['-p', prefix, '-e', join(prefix, 'error.log'), '-c', join(prefix, 'nginx.conf')];
      await add('nginx', port, runLogging('nginx', nginx, args, {}));
    }

    const [bare, barePort] = await runPrinting(join(import.meta.dirname, 'bare.ts'), [backend]);
    await add('bare', barePort, bare);

    const outfile = join(folder, 'completion-proxy', 'index.cjs');
    await bundle({ entry: join(root, 'functions/completion-proxy/index.ts'), outfile });
    const addOurs = async (name: string, more: Record<string, string>) => {
      const port = await freePort();
      // As it is deployed: closed, and with its log of every call.
      const settings = {
        BACKEND_URL: backend,
        FUNCTION_API_KEY: 'bench:bench-key',
        HOST: '127.0.0.1',
        PORT: String(port),
      };
      // A store of its own, empty.
      const store = join(folder, `${name}-store`);
      rmSync(store, { recursive: true, force: true });
      mkdirSync(store);
      const child = runLogging(name, process.execPath, [outfile], { ...settings, TMPDIR: store, ...more });
      await add(name, port, child, { Authorization: 'Bearer bench-key' });
    };
    // The road alone, as `bare` is one; beside it everything that the gateway can know of a call.
    await addOurs('ours', { RECORD_CALLS: 'false' });
    await addOurs('accounting', {
      BACKEND_KIND: 'openai',
      COLLECT_STREAM_USAGE: 'true',
      PRICES: '{"fast": {"input_cost_per_token": 1e-7, "output_cost_per_token": 4e-7}}',
      CALLERS: JSON.stringify({
        bench: {
          models: ['*'],
          requests_per_minute: 1e8,
          tokens_per_minute: 1e11,
          daily_budget_usd: 10_000,
          admin: true,
        },
      }),
    });

    const program = installPortkey(report);
    const portkeyPort = await freePort();
    const args = [program, `--port=${portkeyPort}`, '--headless'];
    await add('portkey', portkeyPort, runLogging('portkey', process.execPath, args, { NODE_ENV: 'production' }), {
      Authorization: 'Bearer bench-key',
      'x-portkey-provider': 'openai',
      'x-portkey-custom-host': `${backend}/v1`,
    });
    return { contenders, backendPort, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The backend and our bundle in front of it, once for each of these settings (their ports are in that order), and nobody else. */
export async function startOurs(
  ...each: Record<string, string>[]
): Promise<{ ports: number[]; backendPort: number; stop(): Promise<void> }> {
  mkdirSync(folder, { recursive: true });
  const [mock, backendPort] = await runPrinting(join(import.meta.dirname, 'mock.ts'));
  const children = [mock];
  const stop = async () => {
    for (const child of children) {
      const exit = once(child, 'exit');
      if (child.exitCode === null && child.kill('SIGKILL')) await exit;
    }
  };
  try {
    const outfile = join(folder, 'stream', 'index.cjs');
    await bundle({ entry: join(root, 'functions/completion-proxy/index.ts'), outfile });
    const ports: number[] = [];
    for (const [index, more] of each.entries()) {
      const port = await freePort();
      const child = runLogging(`stream-${index}`, process.execPath, [outfile], {
        BACKEND_URL: `http://127.0.0.1:${backendPort}`,
        BACKEND_KIND: 'openai',
        FUNCTION_API_KEY: 'bench:bench-key',
        HOST: '127.0.0.1',
        PORT: String(port),
        ...more,
      });
      children.push(child);
      await untilListening(`stream-${index}`, child, port);
      ports.push(port);
    }
    return { ports, backendPort, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
