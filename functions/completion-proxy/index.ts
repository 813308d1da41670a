import type { Handler } from '#shared/http/function.ts';
import { readConfig } from './config.ts';
import { createProxy } from './proxy.ts';

export default async (env: NodeJS.ProcessEnv): Promise<Handler> => {
  if (env.VAST_WORKER === 'true') return (await import('./worker/start.ts')).startWorker(env, process.argv);
  return createProxy(await readConfig(env));
};
