import { loadSettings } from '#shared/config/settings.ts';
import type { Handler } from '#shared/http/function.ts';
import { settings } from './config.ts';
import { createProxy } from './proxy.ts';

export default (env: NodeJS.ProcessEnv): Handler => createProxy(loadSettings(settings, env));
