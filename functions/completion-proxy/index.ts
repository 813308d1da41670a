import type { Handler } from '#shared/http/function.ts';
import { readConfig } from './config.ts';
import { createProxy } from './proxy.ts';

export default async (env: NodeJS.ProcessEnv): Promise<Handler> => {
  const isWorker = /^\s*(true|1)\s*$/.test(env.VAST_WORKER ?? '') || process.argv.includes('--self-test');
  if (isWorker) return (await import('./worker/start.ts')).startWorker(env, process.argv);
  return createProxy(await readConfig(env));
};
