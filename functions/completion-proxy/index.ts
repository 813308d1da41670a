import { createAuthenticate } from '#shared/auth/authenticate.ts';
import type { Handler } from '#shared/http/function.ts';
import { openLater } from '#shared/http/later.ts';
import { readConfig } from './config.ts';

export default async (env: NodeJS.ProcessEnv): Promise<Handler> => {
  const isWorker = /^\s*(true|1)\s*$/.test(env.VAST_WORKER ?? '') || process.argv.includes('--self-test');
  if (isWorker) return (await import('./worker/start.ts')).startWorker(env, process.argv);
  const config = await readConfig(env);
  const anyKey = createAuthenticate(config.settings, 'completion-proxy');
  return openLater(async () => (await import('./proxy.ts')).createProxy(config, {}, anyKey));
};
