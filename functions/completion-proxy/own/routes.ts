import type { CallContext } from '#shared/http/define.ts';
import type { FunctionEvent, FunctionResponse } from '#shared/http/function.ts';
import { json, text } from '#shared/http/respond.ts';
import type { Health } from '../backends/health.ts';
import { type CompletionParts, complete } from '../completion/complete.ts';
import { isListOurs, listModels, listTags, type ModelParts } from './models.ts';
import { openApi } from './openapi.ts';

export interface OwnRoute {
  method: 'GET' | 'POST';
  /** Also below `/_proxy`. */
  path: string;
  /** Needs no key: it tells nothing and costs nothing. */
  isOpen?: boolean;
  /** Other methods are the backend's; else they are answered 405. */
  isShared?: boolean;
  /** Only below `/_proxy`. */
  isPrefixedOnly?: boolean;
  /** false: this one is the backend's as well. */
  isOurs?: () => boolean;
  answer(event: FunctionEvent, context: CallContext): FunctionResponse | Promise<FunctionResponse>;
}

export interface OwnParts {
  completion: CompletionParts;
  models: ModelParts;
  health: Health;
  /** Those that tell of calls. */
  records: readonly OwnRoute[];
  now: () => Date;
}

/** Every route that is ours and not the backend's. */
export function createOwnRoutes({ completion, models, health, records, now }: OwnParts): OwnRoute[] {
  const ok = () => json(200, { status: 'ok', time: now().toISOString() });
  const isOurs = () => isListOurs(models);
  return [
    { method: 'GET', path: '/', isShared: true, answer: ok },
    { method: 'POST', path: '/completion', answer: (event, context) => complete(event, context, completion) },
    { method: 'GET', path: '/health', isOpen: true, answer: ok },
    {
      method: 'GET',
      path: '/ready',
      isOpen: true,
      answer: async () =>
        (await health.isReady()) ? json(200, { status: 'ready' }) : json(503, { status: 'not ready' }),
    },
    { method: 'GET', path: '/ping', isOpen: true, answer: () => text(200, 'pong') },
    {
      method: 'GET',
      path: '/v1/models',
      isShared: true,
      isOurs,
      answer: (event, context) => listModels(models, context, event.headers['anthropic-version'] !== undefined),
    },
    {
      method: 'GET',
      path: '/api/tags',
      isShared: true,
      isOurs,
      answer: (_event, context) => listTags(models, context),
    },
    { method: 'GET', path: '/openapi.json', isPrefixedOnly: true, answer: () => json(200, openApi) },
    ...records,
  ];
}

export interface FoundRoute {
  /** undefined: the path is ours, but nothing is there. */
  route: OwnRoute | undefined;
}

/** Finds our route of a path; undefined where the path is the backend's. */
export type FindRoute = (path: string) => FoundRoute | undefined;

const prefix = '/_proxy';
const nothing: FoundRoute = { route: undefined };

export function createFindRoute(routes: readonly OwnRoute[], shape: 'short' | 'prefixed'): FindRoute {
  const short = new Map<string, FoundRoute>();
  const prefixed = new Map<string, FoundRoute>();
  for (const route of routes) {
    prefixed.set(prefix + route.path, { route });
    if (shape === 'short' && route.isPrefixedOnly !== true) short.set(route.path, { route });
  }
  return (path) => {
    if (path.startsWith(prefix) && (path.length === prefix.length || path[prefix.length] === '/')) {
      return prefixed.get(path === prefix ? `${prefix}/` : path) ?? nothing;
    }
    const found = short.get(path);
    return found?.route?.isOurs?.() === false ? undefined : found;
  };
}
