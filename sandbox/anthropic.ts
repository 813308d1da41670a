import { handleAnthropic, refuseAnthropic } from './ollama/anthropic.ts';
import { rentedModel } from './ollama/models.ts';
import type { OllamaWorld } from './ollama/native.ts';
import type { OllamaSandboxOptions } from './ollama.ts';
import { runSandbox, type Sandbox, sendJson, startSandbox } from './server.ts';

/** A simulated Anthropic: two models. Every call needs its key as `x-api-key`, and `anthropic-version`. */
export async function startAnthropicSandbox(
  options: OllamaSandboxOptions = {},
): Promise<Sandbox & { credentials: Record<string, string> }> {
  const { port = 0, seed = 3, chunkDelayMs = 30 } = options;
  const key = 'sk-ant-sandbox';
  const models = [rentedModel('claude-sonnet-4-5'), rentedModel('claude-haiku-4-5')];
  const world: OllamaWorld = { plays: 'anthropic', models, seed, chunkDelayMs, generations: [] };
  const list = models.map(({ name, modifiedAt }) => ({
    type: 'model',
    id: name,
    display_name: name,
    created_at: modifiedAt,
  }));
  const sandbox = await startSandbox({
    name: 'anthropic',
    port,
    state: () => ({ generations: world.generations }),
    async handle(call) {
      const { method, path, headers, res } = call;
      if (headers['x-api-key'] !== key) return refuseAnthropic(call, 401, 'invalid x-api-key');
      if (headers['anthropic-version'] === undefined) {
        return refuseAnthropic(call, 400, 'anthropic-version: header is required');
      }
      if (method === 'GET' && path === '/v1/models') {
        const ends = { first_id: list[0]!.id, last_id: list.at(-1)!.id };
        return sendJson(res, 200, { data: list, has_more: false, ...ends });
      }
      if (await handleAnthropic(call, world)) return undefined;
      return refuseAnthropic(call, 404, 'Not found');
    },
  });
  return { ...sandbox, credentials: { 'anthropic-api-key': key } };
}

if (import.meta.main) await runSandbox(startAnthropicSandbox);
