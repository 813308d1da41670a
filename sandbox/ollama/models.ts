import { createHash } from 'node:crypto';
import { createRandom } from '../server.ts';

export interface OllamaModel {
  name: string;
  family: string;
  parameterSize: string;
  sizeBytes: number;
  modifiedAt: string;
  embeds: boolean;
}

export const installedModels: OllamaModel[] = [
  ['llama2:latest', 'llama', '7B', 3_826_793_677, '2026-01-12T08:11:05Z', false] as const,
  ['llama3.2:latest', 'llama', '3.2B', 2_019_393_189, '2026-05-03T19:40:31Z', false] as const,
  ['qwen2.5:0.5b', 'qwen2', '494.03M', 397_821_319, '2026-06-21T06:02:44Z', false] as const,
  ['nomic-embed-text:latest', 'nomic-bert', '137M', 274_302_450, '2026-02-28T12:00:00Z', true] as const,
].map(([name, family, parameterSize, sizeBytes, modifiedAt, embeds]) => ({
  name,
  family,
  parameterSize,
  sizeBytes,
  modifiedAt,
  embeds,
}));

/** `llama2` means `llama2:latest`, as in Ollama itself. */
export function findModel(name: unknown, models: OllamaModel[]): OllamaModel | undefined {
  if (typeof name !== 'string' || name === '') return undefined;
  return models.find((model) => model.name === name || model.name === `${name}:latest`);
}

/** What is for rent: a name and nothing that one could download. */
export const rentedModel = (name: string, embeds = false): OllamaModel => ({
  name,
  family: '',
  parameterSize: '',
  sizeBytes: 0,
  modifiedAt: '2026-01-01T00:00:00Z',
  embeds,
});

export const digestOf = (text: string) => createHash('sha256').update(text).digest('hex');

/** An item of `/api/tags`. */
export function toTag(model: OllamaModel) {
  return {
    name: model.name,
    model: model.name,
    modified_at: model.modifiedAt,
    size: model.sizeBytes,
    digest: digestOf(model.name),
    details: {
      parent_model: '',
      format: 'gguf',
      family: model.family,
      families: [model.family],
      parameter_size: model.parameterSize,
      quantization_level: model.embeds ? 'F16' : 'Q4_0',
    },
    capabilities: [model.embeds ? 'embedding' : 'completion'],
  };
}

const words =
  'the light of a small lamp falls on every page and we read it slowly because nothing here is in a hurry while rain crosses the quiet town until morning brings warm bread fresh ink and one more question'.split(
    ' ',
  );

const numberOf = (text: string) => Number.parseInt(digestOf(text).slice(0, 8), 16);

/** About four characters a token: near enough for a simulated count, and never 0 for a text. */
export const countTokens = (text: string) => (text === '' ? 0 : Math.max(1, Math.ceil(text.length / 4)));

/** The pieces of an answer, one a chunk; the same for the same seed, model and prompt. `limit` is num_predict/max_tokens. */
export function writeAnswer(seed: number, model: string, prompt: string, limit?: number) {
  const random = createRandom(seed ^ numberOf(`${model}\n${prompt}`));
  const length = 12 + Math.floor(random() * 20);
  const count = limit === undefined || limit < 0 ? length : Math.min(length, limit);
  const pieces = Array.from({ length: count }, (_, index) => {
    const word = words[Math.floor(random() * words.length)] ?? 'and';
    return index === 0 ? word : ` ${word}`;
  });
  return { pieces, text: pieces.join(''), reason: count < length ? ('length' as const) : ('stop' as const) };
}

/** A unit vector that depends on the text alone. */
export function embed(text: string, dimensions = 768): number[] {
  const random = createRandom(numberOf(text));
  const raw = Array.from({ length: dimensions }, () => random() * 2 - 1);
  const norm = Math.hypot(...raw) || 1;
  return raw.map((value) => Math.fround(value / norm));
}
