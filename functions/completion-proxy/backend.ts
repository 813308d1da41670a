import type { Settings } from './config.ts';

/** Where a call goes. `basePath` comes before the caller's own target; no trailing slash. */
export interface Backend {
  origin: string;
  basePath: string;
  /** Replaces the caller's Authorization. */
  authorization?: string;
}

function toBackend(url: string): Backend {
  const { origin, pathname } = new URL(url);
  return { origin, basePath: pathname.replace(/\/+$/, '') };
}

/** `OLLAMA_URL` is an origin, or the full `/api/generate` as the predecessor had it. */
export const toOllamaBase = (url: string) => url.replace(/\/api\/generate\/?$/, '');

/** Clients of OpenAI write the base with `/v1`; the paths that callers use have it as well. */
export const toOpenAiBase = (url: string) => url.replace(/\/v1\/?$/, '');

/** Read for each call, since the secret may come or change while we run. Undefined when nothing is configured. */
export function chooseBackend(settings: Settings): Backend | undefined {
  if (settings.BACKEND_URL !== undefined) return toBackend(settings.BACKEND_URL);
  if (settings.OLLAMA_URL !== undefined) return toBackend(toOllamaBase(settings.OLLAMA_URL));
  const key = settings['openai-api-key'].read();
  if (key === undefined) return undefined;
  return { ...toBackend(toOpenAiBase(settings.OPENAI_BASE_URL)), authorization: `Bearer ${key}` };
}
