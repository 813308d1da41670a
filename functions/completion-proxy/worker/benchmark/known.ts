import { randomInt } from 'node:crypto';
import { createHttpClient } from '#shared/clients/http.ts';
import { UpstreamError } from '#shared/errors.ts';
import type { BenchmarkPlan } from './run.ts';

const words =
  'time river stone light paper window garden winter music number letter animal engine forest bridge market silver summer island planet doctor kitchen morning thunder village history ocean castle candle mirror basket feather harbor lantern meadow needle orange pencil quarry ribbon saddle tunnel velvet walnut yellow zebra'.split(
    ' ',
  );
const someWords = (count: number) =>
  Array.from({ length: count }, () => words[randomInt(words.length)]!)
    .join(' ')
    .trim();
// The same beginning for every request, as a system prompt is: a backend may have it in its cache.
const system = `You know everything about zebras. ${'A zebra is an animal of Africa with black and white stripes. '.repeat(20)}`;

type Ask = (path: string, json: object) => Promise<Record<string, unknown>>;
type Plan = (ask: Ask, model: string) => BenchmarkPlan;

/** Tokens where the backend counts them, none included, else as many as were asked for. */
const countOf = (count: unknown, fallback: number) => (typeof count === 'number' && count >= 0 ? count : fallback);
const tokensOf = (answer: Record<string, unknown>, fallback: number) =>
  countOf((answer.usage as { completion_tokens?: unknown } | undefined)?.completion_tokens, fallback);

const openAi: Plan = (ask, model) => {
  const complete = async (count: number, max_tokens: number) =>
    tokensOf(
      await ask('/v1/completions', { model, prompt: `${system}${someWords(count)}`, max_tokens, temperature: 0.7 }),
      max_tokens,
    );
  return { runs: 8, concurrency: 10, warmUp: () => complete(50, 100), once: () => complete(250, 500) };
};

const openAiChat: Plan = (ask, model) => {
  const chat = async (count: number, max_tokens: number) => {
    const messages = [
      { role: 'system', content: system },
      { role: 'user', content: someWords(count) },
    ];
    return tokensOf(await ask('/v1/chat/completions', { model, messages, max_tokens, temperature: 0.7 }), max_tokens);
  };
  return { runs: 8, concurrency: 10, warmUp: () => chat(50, 100), once: () => chat(250, 500) };
};

const tgi: Plan = (ask) => {
  const generate = async (max_new_tokens: number) => {
    const parameters = { max_new_tokens, temperature: 0.7, details: true };
    const { details } = await ask('/generate', { inputs: `${system}${someWords(250)}`, parameters });
    return countOf((details as { generated_tokens?: unknown } | undefined)?.generated_tokens, max_new_tokens);
  };
  return { runs: 8, concurrency: 10, warmUp: () => generate(100), once: () => generate(256) };
};

const ollama: Plan = (ask, model) => {
  const generate = async (num_predict: number) => {
    const options = { num_predict, temperature: 0.7 };
    const answer = await ask('/api/generate', { model, prompt: someWords(250), stream: false, options });
    return countOf(answer.eval_count, num_predict);
  };
  return { runs: 8, concurrency: 10, warmUp: () => generate(100), once: () => generate(256) };
};

const [width, height, steps] = [512, 512, 20];

/** The predecessor's measure of a picture: pixels times steps, and more for large ones. */
export function pictureWorkload(wide: number, high: number, stepCount: number): number {
  const pixels = wide * high;
  const bySize = pixels <= 512 ** 2 ? 0 : pixels <= 768 ** 2 ? 10 : pixels <= 1024 ** 2 ? 20 : 30;
  const bySteps = stepCount <= 20 ? 0 : stepCount <= 30 ? 5 : 10;
  return (pixels * stepCount) / 1_000 + bySize + bySteps;
}

const node = (class_type: string, inputs: object) => ({ class_type, inputs });
const workflow = (prompt: string, model: string) => ({
  1: node('CheckpointLoaderSimple', { ckpt_name: model }),
  2: node('CLIPTextEncode', { clip: ['1', 1], text: prompt }),
  3: node('CLIPTextEncode', { clip: ['1', 1], text: 'blurry' }),
  4: node('EmptyLatentImage', { width, height, batch_size: 1 }),
  5: node('KSampler', {
    model: ['1', 0],
    positive: ['2', 0],
    negative: ['3', 0],
    latent_image: ['4', 0],
    seed: randomInt(2 ** 32),
    steps,
    cfg: 7,
    sampler_name: 'euler_ancestral',
    scheduler: 'normal',
    denoise: 1,
  }),
  6: node('VAEDecode', { samples: ['5', 0], vae: ['1', 2] }),
  7: node('SaveImage', { images: ['6', 0], filename_prefix: 'benchmark' }),
});

/** The two wrappers of ComfyUI that the predecessors' versions ask: the older takes a workflow, the newer fills in its own. */
const comfyUi: Plan = (ask, model) => {
  const drawOld = async () => {
    await ask('/runsync', { input: { workflow_json: workflow(someWords(20), model) } });
    return pictureWorkload(width, height, steps);
  };
  const drawNew = async () => {
    const modifications = { prompt: someWords(20), width, height, steps, seed: randomInt(2 ** 32) };
    await ask('/generate/sync', { input: { modifier: 'Text2Image', modifications } });
    return 100;
  };
  let draw = drawOld;
  const warmUp = async () => {
    try {
      await drawOld();
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.status !== 404) throw error;
      draw = drawNew;
      await drawNew();
    }
  };
  return { runs: 3, concurrency: 1, warmUp, once: () => draw() };
};

/** `defaultModel` where nobody names one and the backend tells none. */
const known: Record<string, { plan: Plan; timeoutMs: number; defaultModel: string }> = {
  openai: { plan: openAi, timeoutMs: 600_000, defaultModel: 'model' },
  'openai-chat': { plan: openAiChat, timeoutMs: 600_000, defaultModel: 'model' },
  tgi: { plan: tgi, timeoutMs: 600_000, defaultModel: 'model' },
  ollama: { plan: ollama, timeoutMs: 600_000, defaultModel: 'model' },
  comfyui: { plan: comfyUi, timeoutMs: 300_000, defaultModel: 'v1-5-pruned-emaonly.safetensors' },
};

export const knownBenchmarks = Object.keys(known);
export const isKnownBenchmark = (name: string) => Object.hasOwn(known, name);

interface BackendAccess {
  headers: () => Record<string, string>;
  signal: AbortSignal;
}

/** vLLM refuses a model that it does not serve: the first that it lists is the one. TGI tells its own elsewhere. */
export async function askModel(
  name: string,
  backendUrl: string,
  { headers, signal }: BackendAccess,
): Promise<string | undefined> {
  if (name === 'comfyui') return undefined;
  const client = createHttpClient({
    service: 'The backend',
    baseUrl: backendUrl,
    timeoutMs: 10_000,
    attempts: 1,
    headers,
  });
  try {
    const { body } = await client.requestJson({ path: name === 'tgi' ? '/info' : '/v1/models', signal });
    const { model_id, data } = body as { model_id?: unknown; data?: { id?: unknown }[] };
    const model = name === 'tgi' ? model_id : data?.[0]?.id;
    return typeof model === 'string' ? model : undefined;
  } catch {
    // Not every backend has such a list.
    return undefined;
  }
}

/** The plan of one of `knownBenchmarks` against a backend. */
export function planOf(
  name: string,
  backendUrl: string,
  { model, headers, signal }: BackendAccess & { model: string | undefined },
): BenchmarkPlan {
  const { plan, timeoutMs, defaultModel } = known[name]!;
  const client = createHttpClient({ service: 'The backend', baseUrl: backendUrl, timeoutMs, attempts: 1, headers });
  const ask: Ask = async (path, json) => {
    const { body } = await client.requestJson({ method: 'POST', path, json, signal });
    return body as Record<string, unknown>;
  };
  return plan(ask, model ?? defaultModel);
}
