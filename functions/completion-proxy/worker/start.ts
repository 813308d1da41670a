import type { Handler } from '#shared/http/function.ts';
import { createWorker } from './worker.ts';

/** The worker, or with `--self-test` one signed call through the one that runs, and the end of the process. */
export async function startWorker(env: NodeJS.ProcessEnv, argv: readonly string[]): Promise<Handler> {
  if (!argv.includes('--self-test')) return createWorker(env);
  const { selfTest } = await import('./self-test.ts');
  const ok = await selfTest(env, (line) => process.stdout.write(`${line}\n`));
  process.exit(ok ? 0 : 1);
}
