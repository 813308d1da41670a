import { createAuthenticate } from '#shared/auth/authenticate.ts';
import { loadSettings } from '#shared/config/settings.ts';
import { defineFunction } from '#shared/http/define.ts';
import { settings as schema } from './config.ts';
import { createLlmGlobalSpend } from './handler.ts';
import { openSpend } from './open.ts';
import { withPages } from './page/routes.ts';

export default (env: NodeJS.ProcessEnv) => {
  const settings = loadSettings(schema, env);
  const { spend, diagnosis, close } = openSpend(settings);
  const authenticate = createAuthenticate(settings, 'llm-global-spend');
  return Object.assign(defineFunction({ authenticate, diagnosis }, withPages(createLlmGlobalSpend(spend))), { close });
};
