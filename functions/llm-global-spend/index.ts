import { createAuthenticate } from '#shared/auth/authenticate.ts';
import { loadSettings } from '#shared/config/settings.ts';
import { openLater } from '#shared/http/later.ts';
import { settings as schema } from './config.ts';

export default (env: NodeJS.ProcessEnv) => {
  const settings = loadSettings(schema, env);
  const authenticate = createAuthenticate(settings, 'llm-global-spend');
  return openLater(async () => (await import('./open.ts')).openFunction(settings, authenticate));
};
