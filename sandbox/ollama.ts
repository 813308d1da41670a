import { handleAnthropic } from './ollama/anthropic.ts';
import { installedModels } from './ollama/models.ts';
import { handleNative, type OllamaWorld } from './ollama/native.ts';
import { handleOpenAi } from './ollama/openai.ts';
import { handleResponses } from './ollama/responses.ts';
import { runSandbox, type Sandbox, type SandboxFlags, startSandbox } from './server.ts';

export interface OllamaSandboxOptions extends SandboxFlags {
  /** The pause between two chunks of a stream; 30 ms, so that a person sees the words come. */
  chunkDelayMs?: number;
}

/**
 * A simulated Ollama with its routes of OpenAI's and Anthropic's dialects: three models that talk, one that embeds. The same seed, model and
 * prompt give the same answer. It needs no credentials.
 */
export async function startOllamaSandbox(
  options: OllamaSandboxOptions = {},
): Promise<Sandbox & { credentials: Record<string, string> }> {
  const { port = 0, seed = 1, chunkDelayMs = 30 } = options;
  const world: OllamaWorld = { plays: 'ollama', models: installedModels, seed, chunkDelayMs, generations: [] };
  const sandbox = await startSandbox({
    name: 'ollama',
    port,
    state: () => ({ generations: world.generations }),
    async handle(call) {
      if (await handleNative(call, world)) return;
      if (await handleOpenAi(call, world)) return;
      if (await handleResponses(call, world)) return;
      if (await handleAnthropic(call, world)) return;
      call.res.writeHead(404, { 'Content-Type': 'text/plain' });
      call.res.end('404 page not found');
    },
  });
  return { ...sandbox, credentials: {} };
}

if (import.meta.main) await runSandbox(startOllamaSandbox);
