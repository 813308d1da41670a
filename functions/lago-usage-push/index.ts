import { createAuthenticate } from '#shared/auth/authenticate.ts';
import { loadSettings } from '#shared/config/settings.ts';
import { openLater } from '#shared/http/later.ts';
import { requireSense, settings as schema } from './config.ts';

export default (env: NodeJS.ProcessEnv) => {
  const settings = loadSettings(schema, env);
  requireSense(settings);
  const authenticate = createAuthenticate(settings, 'lago-usage-push');
  return openLater(async () => (await import('./wiring.ts')).openFunction(settings, authenticate));
};
