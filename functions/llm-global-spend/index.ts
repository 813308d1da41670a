import { createAuthenticate } from '#shared/auth/authenticate.ts';
import { createLitellmClient } from '#shared/clients/litellm.ts';
import { loadSettings } from '#shared/config/settings.ts';
import { defineFunction } from '#shared/http/define.ts';
import { settings as schema } from './config.ts';
import { createLlmGlobalSpend } from './handler.ts';

export default (env: NodeJS.ProcessEnv) => {
  const settings = loadSettings(schema, env);
  const { LITELLM_API_BASE_URL: baseUrl, LITELLM_TIMEOUT_MS: timeoutMs, LITELLM_EPOCH: epoch } = settings;
  const apiKey = () => settings['litellm-api-key'].read();
  const litellm = createLitellmClient({ baseUrl, apiKey, timeoutMs, attempts: 2 });
  const authenticate = createAuthenticate(settings, 'llm-global-spend');
  return defineFunction({ authenticate }, createLlmGlobalSpend({ litellm, epoch, now: () => new Date() }));
};
