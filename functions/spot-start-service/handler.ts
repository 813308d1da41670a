import { HttpError } from '#shared/errors.ts';
import { readJson } from '#shared/http/body.ts';
import type { CallContext, FunctionHandler } from '#shared/http/define.ts';
import { json } from '#shared/http/respond.ts';
import { toBody, toContainer, toMessage } from './answer.ts';
import { parseRequest } from './request.ts';
import type { Scope, SpotService } from './service.ts';

export interface Route {
  method: string;
  path: string;
  run: FunctionHandler;
}

/** Sends a call to the route of its path and method; throws HttpError 404 `not_found`, 405 `method_not_allowed`. */
export function createRouter(routes: Route[]): FunctionHandler {
  return async (event, context) => {
    const path = event.path.replace(/\/+$/, '') || '/';
    const here = routes.filter((route) => route.path === path);
    const route = here.find(({ method }) => method === event.method);
    if (route !== undefined) return route.run(event, context);
    if (here.length === 0) throw new HttpError(404, `There is no ${path} here`, { code: 'not_found' });
    throw new HttpError(405, `Method ${event.method} not allowed`, {
      code: 'method_not_allowed',
      headers: { Allow: [...new Set(here.map(({ method }) => method))].join(', ') },
    });
  };
}

export interface HandlerOptions {
  service: SpotService;
  /** When the call that arrives now must have its answer. */
  scope: (context: CallContext) => Scope;
}

/** POST / with `{"service"}` or `{"referral_url"}`: finds the stack, and starts or heals it. */
export function createStartRoute({ service, scope }: HandlerOptions): FunctionHandler {
  return async (event, context) => {
    const its = scope(context);
    const request = parseRequest(await readJson(event, 64 * 1024));
    const found = await service.resolve({ ...request.wanted, shown: request.shown }, its);
    const result = await service.wake(found, { wait: request.wait }, its);
    const body = toBody(found, result, toMessage(found.name, result));
    if (result.finished) return json(200, body);
    return json(202, { ...body, containers: result.containers.map(toContainer) }, { 'Retry-After': '5' });
  };
}
