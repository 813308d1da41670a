import type { Handler } from '#shared/http/function.ts';
import { readConfig } from './config.ts';
import { createProxy } from './proxy.ts';

export default async (env: NodeJS.ProcessEnv): Promise<Handler> => createProxy(await readConfig(env));
