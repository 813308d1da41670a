import { createAuthenticate } from '#shared/auth/authenticate.ts';
import { loadSettings } from '#shared/config/settings.ts';
import { defineFunction } from '#shared/http/define.ts';
import { settings as schema } from './config.ts';
import { createHandler } from './handler.ts';
import { openPush } from './open.ts';
import { openOperations } from './operations.ts';
import { createRoutes } from './routes.ts';

export default (env: NodeJS.ProcessEnv) => {
  const settings = loadSettings(schema, env);
  const { run, close } = openPush(settings);
  const authenticate = createAuthenticate(settings, 'lago-usage-push');
  return Object.assign(
    defineFunction({ authenticate }, createHandler(createRoutes({ run, operations: openOperations(settings) }))),
    { close },
  );
};
