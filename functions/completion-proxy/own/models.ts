import { HttpError } from '#shared/errors.ts';
import type { CallContext } from '#shared/http/define.ts';
import type { FunctionResponse } from '#shared/http/function.ts';
import { json } from '#shared/http/respond.ts';
import { askBackend } from '../backends/ask.ts';
import type { Backend } from '../backends/backend.ts';
import { isGlob } from '../backends/patterns.ts';
import { type FindCarrier, isAvailable, type Upstream } from '../backends/upstream.ts';

/** Whether a caller may use a model. */
export type MayUse = (caller: CallContext['caller'], model: string) => boolean;

export interface ModelParts {
  upstreams: readonly Upstream[];
  find: FindCarrier;
  modelAliases: ReadonlyMap<string, string>;
  mayUse: MayUse;
}

type Entry = Record<string, unknown> & { id: string };

const answerMs = 5_000;

function parseList(text: string, key: 'data' | 'models', name: 'id' | 'name'): Entry[] {
  const list = (JSON.parse(text) as Record<string, unknown>)[key];
  if (!Array.isArray(list)) return [];
  return list.flatMap((item: Record<string, unknown> | null) => {
    const id = item?.[name];
    return typeof id === 'string' ? [{ ...item, id }] : [];
  });
}

/** What a backend says it has; nothing where it does not answer, so that one that is down does not hide the others. */
async function askFor(find: FindCarrier, upstream: Upstream, native: boolean): Promise<Entry[]> {
  const { backend } = upstream;
  if (backend.kind === 'plain' || backend.kind === 'vast' || !isAvailable(upstream)) return [];
  const isTags = native && backend.kind === 'ollama';
  const headers = backend.kind === 'anthropic' ? ['anthropic-version', '2023-06-01'] : [];
  try {
    const path = isTags ? '/api/tags' : '/v1/models';
    const { status, body } = await askBackend(find, backend, { path, headers, timeoutMs: answerMs });
    return status === 200 ? parseList(body, isTags ? 'models' : 'data', isTags ? 'name' : 'id') : [];
  } catch {
    return [];
  }
}

/** What callers may ask this backend for: what it has, within what it is set to serve, and every name that is set. */
function servedBy({ models, aliases, name }: Backend, found: Entry[]): Entry[] {
  const shown = models === undefined ? found : found.filter(({ id }) => models.matches(id));
  const named = [...(models?.texts.filter((text) => !isGlob(text)) ?? []), ...aliases.keys()];
  return [...shown, ...named.map((id) => ({ id, owned_by: name }))];
}

async function collect(parts: ModelParts, caller: CallContext['caller'], native: boolean): Promise<Entry[]> {
  const { upstreams, find, modelAliases, mayUse } = parts;
  const lists = await Promise.all(
    upstreams.map(async (upstream) => servedBy(upstream.backend, await askFor(find, upstream, native))),
  );
  const byId = new Map<string, Entry>();
  for (const entry of lists.flat()) if (!byId.has(entry.id)) byId.set(entry.id, entry);
  for (const [alias, model] of modelAliases) {
    const target = byId.get(model);
    if (target !== undefined && !byId.has(alias)) byId.set(alias, { ...target, id: alias });
  }
  return [...byId.values()].filter(({ id }) => mayUse(caller, id));
}

/** `GET /v1/models`: every backend's, in OpenAI's shape, with the fields that Anthropic's clients read where they ask. */
export async function listModels(
  parts: ModelParts,
  context: CallContext,
  isAnthropic: boolean,
): Promise<FunctionResponse> {
  const found = await collect(parts, context.caller, false);
  const data = found.map((entry) => {
    const { id, created = 0, owned_by = 'backend', display_name = id, created_at } = entry;
    if (isAnthropic) return { type: 'model', id, display_name, created_at: created_at ?? '1970-01-01T00:00:00Z' };
    return { id, object: 'model', created, owned_by };
  });
  if (!isAnthropic) return json(200, { object: 'list', data });
  return json(200, { data, has_more: false, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null });
}

/** `GET /api/tags`: the same list as Ollama gives it. */
export async function listTags(parts: ModelParts, context: CallContext): Promise<FunctionResponse> {
  const found = await collect(parts, context.caller, true);
  const models = found.map(({ id, ...rest }) => {
    if ('digest' in rest) return { ...rest, name: id, model: id };
    return { name: id, model: id, modified_at: '1970-01-01T00:00:00Z', size: 0, digest: '', details: {} };
  });
  return json(200, { models });
}

/** Whether the list is ours to make: one backend that serves whatever it has gives its own. */
export const isListOurs = ({ upstreams, modelAliases }: ModelParts) =>
  upstreams.length > 1 ||
  modelAliases.size > 0 ||
  upstreams.some(({ backend }) => backend.models !== undefined || backend.aliases.size > 0);

export const noBackend = () =>
  new HttpError(503, 'No backend is configured: set BACKEND_URL or BACKENDS', { code: 'no_backend' });
