import { createAuthenticate } from '#shared/auth/authenticate.ts';
import { loadSettings } from '#shared/config/settings.ts';
import type { Handler } from '#shared/http/function.ts';
import { openLater } from '#shared/http/later.ts';
import { settings } from './config.ts';

export default function create(env: NodeJS.ProcessEnv): Handler {
  const config = loadSettings(settings, env);
  const known = createAuthenticate(config, 'spot-start-service');
  return openLater(async () => (await import('./wiring.ts')).openFunction(config, known));
}
