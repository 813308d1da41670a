import { type ChildProcess, spawn } from 'node:child_process';
import { get } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';

export interface ChildOptions {
  name: string;
  /** The program, run by the Node that runs the gateway. */
  program: string;
  /** Everything that the child sees, but PORT and HOST. */
  environment: Record<string, string>;
  log: (line: string) => void;
  readyTimeoutMs?: number;
  /** How long a child may take to end after it was told to. */
  stopTimeoutMs?: number;
  backoff?: { firstMs: number; maxMs: number; steadyMs: number };
}

/** One function as a process that is kept alive. */
export interface Child {
  /** Where it listens; undefined while it is down. */
  port(): number | undefined;
  /** Starts it; resolves with true once it is ready, with false when it died first or took too long (it is tried again). */
  start(): Promise<boolean>;
  restart(): Promise<boolean>;
  stop(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function isReady(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get({ host: '127.0.0.1', port, path: '/_/ready', agent: false, timeout: 1_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
  });
}

const hasEnded = (process: ChildProcess) => process.exitCode !== null || process.signalCode !== null;

/** Keeps a program running: a child that dies is started again, later each time it dies young. */
export function createChild(options: ChildOptions): Child {
  const { name, program, environment, log, readyTimeoutMs = 10_000, stopTimeoutMs = 3_000 } = options;
  const { firstMs, maxMs, steadyMs } = options.backoff ?? { firstMs: 250, maxMs: 15_000, steadyMs: 10_000 };
  let current: { process: ChildProcess; port: number } | undefined;
  let wanted = false;
  let delayMs = firstMs;
  let retry: NodeJS.Timeout | undefined;

  async function launch(): Promise<boolean> {
    const port = await freePort();
    if (!wanted) return false;
    const startedAt = Date.now();
    const child = spawn(process.execPath, [program], {
      env: { ...environment, PORT: String(port), HOST: '127.0.0.1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const mine = { process: child, port };
    current = mine;
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => log(`${name} | ${line}`));
    }
    child.on('error', (error) => log(`${name} | cannot be started: ${error.message}`));
    child.on('exit', (code, signal) => {
      if (current === mine) current = undefined;
      if (!wanted || current !== undefined) return;
      if (Date.now() - startedAt > steadyMs) delayMs = firstMs;
      log(`${name} | ended (${signal ?? `exit ${code}`}), starts again in ${delayMs} ms`);
      retry = setTimeout(() => void launch(), delayMs);
      delayMs = Math.min(delayMs * 2, maxMs);
    });

    const deadline = startedAt + readyTimeoutMs;
    while (Date.now() < deadline && !hasEnded(child)) {
      if (await isReady(port)) return true;
      await wait(25);
    }
    if (!hasEnded(child)) log(`${name} | not ready after ${readyTimeoutMs} ms`);
    return false;
  }

  async function stop() {
    wanted = false;
    clearTimeout(retry);
    const child = current?.process;
    current = undefined;
    if (child === undefined || hasEnded(child)) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    // Nobody sends calls any more, so there is no watchdog's grace to wait for, which SIGTERM would mean.
    child.kill('SIGINT');
    const killer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
    await ended;
    clearTimeout(killer);
  }

  function start() {
    wanted = true;
    delayMs = firstMs;
    return launch();
  }

  return {
    port: () => current?.port,
    start,
    async restart() {
      await stop();
      return start();
    },
    stop,
  };
}
