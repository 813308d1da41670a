import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';

/** `contains`: of-watchdog and faas-netes; `exact`: the provider of faasd; `prefix`: the gateway of the Community Edition. */
export type Rule = 'contains' | 'exact' | 'prefix';

/** A call's way to a function on faasd, beginning at the function. */
export const faasd: Rule[] = ['contains', 'exact', 'prefix'];

const program = join(import.meta.dirname, '../../../.cache/hop');

/** Builds the hop of main.go with the Go of this machine; undefined where there is none. */
export function buildHop(): string | undefined {
  try {
    execFileSync('go', ['version'], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  mkdirSync(dirname(program), { recursive: true });
  execFileSync('go', ['build', '-o', program, '.'], {
    cwd: import.meta.dirname,
    // Nothing but the standard library, without a C compiler and without a network.
    env: { ...process.env, CGO_ENABLED: '0', GOPROXY: 'off', GOTOOLCHAIN: 'local' },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return program;
}

export interface Chain {
  /** Of the hop that callers see. */
  url: string;
  /** Of each hop, the one next to the upstream first. */
  urls: string[];
  stop(): Promise<void>;
}

/** Hops in front of `upstream`; `wrapped` copies into a writer that hides Go's ReadFrom, as one does that counts. */
export async function startChain(hop: string, upstream: string, rules: Rule[], wrapped = false): Promise<Chain> {
  const args = [...(wrapped ? ['-wrapped'] : []), upstream, ...rules];
  const child: ChildProcess = spawn(hop, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const urls: string[] = [];
  for await (const line of createInterface({ input: child.stdout! })) {
    urls.push(`http://127.0.0.1:${line}`);
    if (urls.length === rules.length) break;
  }
  if (urls.length < rules.length) throw new Error(`The hops ended with ${child.exitCode} before they listened`);
  return {
    url: urls.at(-1)!,
    urls,
    async stop() {
      if (child.exitCode !== null) return;
      const exited = once(child, 'exit');
      child.stdin!.end();
      await exited;
    },
  };
}
