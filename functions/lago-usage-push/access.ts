import type { LagoHttpOptions } from '#shared/clients/lago-http.ts';
import { createLitellmClient, type LitellmClient } from '#shared/clients/litellm.ts';
import type { Settings } from './config.ts';

type Sleep = Pick<LagoHttpOptions, 'sleep'>;

/** Where Lago is and by which key, as each of its clients is told. */
export const toLagoAccess = (settings: Settings, timing: Sleep = {}): LagoHttpOptions => ({
  baseUrl: settings.LAGO_API_BASE,
  apiKey: () => settings['lago-api-key'].read() ?? '',
  timeoutMs: settings.LAGO_TIMEOUT_MS,
  ...timing,
});

export const openLitellm = (settings: Settings, timing: Sleep = {}): LitellmClient =>
  createLitellmClient({
    baseUrl: settings.LITELLM_API_BASE_URL,
    apiKey: () => settings['litellm-api-key'].read(),
    timeoutMs: settings.LITELLM_TIMEOUT_MS,
    ...timing,
  });
