import { rentedModel } from './ollama/models.ts';
import type { OllamaWorld } from './ollama/native.ts';
import { handleOpenAi } from './ollama/openai.ts';
import { handleResponses } from './ollama/responses.ts';
import type { OllamaSandboxOptions } from './ollama.ts';
import { runSandbox, type Sandbox, sendJson, startSandbox } from './server.ts';

/** A simulated OpenAI: two models that talk, one that embeds. Every call needs its key as a bearer token. */
export async function startOpenAiSandbox(
  options: OllamaSandboxOptions = {},
): Promise<Sandbox & { credentials: Record<string, string> }> {
  const { port = 0, seed = 2, chunkDelayMs = 30 } = options;
  const key = 'sk-sandbox-openai';
  const models = [rentedModel('gpt-4o'), rentedModel('gpt-4o-mini'), rentedModel('text-embedding-3-small', true)];
  const world: OllamaWorld = { plays: 'openai', models, seed, chunkDelayMs, generations: [] };
  const refuse = (res: Parameters<typeof sendJson>[0], status: number, message: string, code: string | null) =>
    sendJson(res, status, { error: { message, type: 'invalid_request_error', param: null, code } });
  const sandbox = await startSandbox({
    name: 'openai',
    port,
    state: () => ({ generations: world.generations }),
    async handle(call) {
      const { method, path, headers, res } = call;
      if (headers.authorization === undefined) {
        return refuse(res, 401, "You didn't provide an API key.", null);
      }
      if (headers.authorization !== `Bearer ${key}`) {
        return refuse(res, 401, 'Incorrect API key provided.', 'invalid_api_key');
      }
      res.setHeader('x-request-id', `req_${world.generations.length}`);
      res.setHeader('openai-processing-ms', '7');
      if (await handleOpenAi(call, world)) return undefined;
      if (await handleResponses(call, world)) return undefined;
      return refuse(res, 404, `Invalid URL (${method} ${path})`, null);
    },
  });
  return { ...sandbox, credentials: { 'openai-api-key': key } };
}

if (import.meta.main) await runSandbox(startOpenAiSandbox);
