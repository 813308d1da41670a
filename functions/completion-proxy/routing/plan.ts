import { HttpError } from '#shared/errors.ts';
import type { Backend, BackendKind } from '../backends/backend.ts';
import { isAvailable, type Upstream } from '../backends/upstream.ts';

/** What a kind is for. A wish and no rule: where no backend says otherwise, the others take the path as well. */
const usualPaths: Record<BackendKind, RegExp> = {
  anthropic: /^\/v1\/(messages|complete|models)(\/|$)/,
  ollama: /^\/(api\/|v1\/|$)/,
  openai: /^\/v1\/(?!messages(\/|$))/,
  plain: /^/,
  vast: /^/,
};

const servesModel = ({ models, aliases }: Backend, model: string) =>
  models === undefined || models.matches(model) || aliases.has(model);

const takesAll = ({ paths, models }: Backend) => paths === undefined && models === undefined;

/** Every model name and glob that the settings have, for the caller who named another. */
export function namedModels(upstreams: readonly Upstream[]): string[] {
  const names = upstreams.flatMap(({ backend }) => [...(backend.models?.texts ?? []), ...backend.aliases.keys()]);
  return [...new Set(names)].toSorted();
}

/** Load against the share that a backend should have. */
const loadOf = ({ gate, backend }: Upstream) => (gate.active + gate.waiting + 1) / backend.weight;

/**
 * The backends for a call, the one to ask first at the front: those that serve the path and the model, lower orders
 * first, equals by their load. Throws HttpError 404 `model_not_found` and `no_route`, 503 `backends_down`.
 */
export function planCall(
  upstreams: readonly Upstream[],
  { path, model, onlyKind }: { path: string; model: string | undefined; onlyKind?: BackendKind | undefined },
  random: () => number = Math.random,
): readonly Upstream[] {
  const [only] = upstreams;
  if (upstreams.length === 1 && takesAll(only!.backend) && onlyKind === undefined && isAvailable(only!))
    return upstreams;
  const open = upstreams.filter(({ backend }) => backend.paths === undefined || backend.paths.matches(path));
  const usual = open.filter(({ backend }) => backend.paths !== undefined || usualPaths[backend.kind].test(path));
  const wide = usual.length > 0 ? usual : open;
  const onPath = onlyKind === undefined ? wide : upstreams.filter(({ backend }) => backend.kind === onlyKind);
  if (onPath.length === 0) throw new HttpError(404, 'No backend serves this path', { code: 'no_route' });
  const serving = model === undefined ? onPath : onPath.filter(({ backend }) => servesModel(backend, model));
  if (serving.length === 0) throw notFound(model!, namedModels(onPath));
  const available = serving.filter(isAvailable);
  if (available.length === 0) throw allDown(serving);
  if (available.length === 1) return available;
  return available
    .map((upstream) => ({ upstream, load: loadOf(upstream), chance: random() }))
    .toSorted((a, b) => a.upstream.backend.order - b.upstream.backend.order || a.load - b.load || a.chance - b.chance)
    .map(({ upstream }) => upstream);
}

export function notFound(model: string, allowed: string[]): HttpError {
  const named = model.length > 100 ? `${model.slice(0, 100)}…` : model;
  return new HttpError(404, `The model ${JSON.stringify(named)} is not served here; there is: ${allowed.join(', ')}`, {
    code: 'model_not_found',
  });
}

/** Soonest of the times after which a backend may be asked again. */
function allDown(serving: readonly Upstream[]): HttpError {
  const waitMs = Math.min(...serving.map(({ breaker }) => breaker.waitMs() || 5_000));
  return new HttpError(503, 'Every backend for this call is down or overloaded', {
    code: 'backends_down',
    headers: { 'Retry-After': String(Math.max(1, Math.ceil(waitMs / 1_000))) },
  });
}
