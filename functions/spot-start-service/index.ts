import { loadSettings } from '#shared/config/settings.ts';
import type { Handler } from '#shared/http/function.ts';
import { settings } from './config.ts';
import { createClient, createFunction, openSharedStore } from './wiring.ts';

export default function create(env: NodeJS.ProcessEnv): Handler {
  const config = loadSettings(settings, env);
  return createFunction(config, { portainer: createClient(config), store: openSharedStore(config) });
}
