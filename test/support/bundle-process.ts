import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';

export interface BundleProcess {
  port: number;
  child: ChildProcess;
  /** Every line of the log so far. */
  lines: string[];
  /** The exit code, once it has exited. */
  exited: Promise<number | null>;
}

/** Polls until `read` gives something; fails with `what` after ten seconds, or as long as is said. */
export async function until<T>(
  what: string,
  read: () => T | undefined | Promise<T | undefined>,
  patienceMs = 10_000,
): Promise<T> {
  const deadline = Date.now() + patienceMs;
  while (Date.now() < deadline) {
    const value = await read();
    if (value !== undefined) return value;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`Waited ${patienceMs} ms in vain: ${what}`);
}

/** Runs a built bundle as the image does, on a port of the system's choice. `port` is 0 when it exits before it listens. */
export async function runBundle(file: string, env: Record<string, string> = {}): Promise<BundleProcess> {
  const child = spawn(process.execPath, [file], {
    env: { PATH: process.env.PATH, TMPDIR: tmpdir(), PORT: '0', healthcheck_interval: '100ms', ...env },
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  const lines: string[] = [];
  let rest = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
  });
  const exited = once(child, 'close').then(([code]) => code as number | null);
  const port = await until('the bundle listens or exits', () => {
    const listening = lines.find((line) => line.includes('"msg":"listening"'));
    if (listening !== undefined) return JSON.parse(listening).port as number;
    return child.exitCode === null ? undefined : 0;
  }).catch((error: unknown) => {
    // Else it would outlive the tests, and hold their output open.
    child.kill('SIGKILL');
    throw error;
  });
  return { port, child, lines, exited };
}
