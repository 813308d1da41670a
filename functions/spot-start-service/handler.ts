import { HttpError } from '#shared/errors.ts';
import { readJson } from '#shared/http/body.ts';
import type { CallContext, FunctionHandler } from '#shared/http/define.ts';
import { json } from '#shared/http/respond.ts';
import { toBody, toCandidate, toContainer, toMessage } from './answer.ts';
import { parseRequest, type SpotRequest } from './request.ts';
import type { Found } from './resolve/match.ts';
import { onFound } from './run/found.ts';
import type { Scope, SpotService, WakeResult } from './service.ts';

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
    if (here.length === 0) throw new HttpError(404, 'There is no such path here', { code: 'not_found' });
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

/** POST / with `{"service"}` or `{"referral_url"}`: finds the stack, and starts or heals it, or what `do` says. */
export function createStartRoute({ service, scope }: HandlerOptions): FunctionHandler {
  async function run(found: Found, request: SpotRequest, its: Scope): Promise<WakeResult> {
    const { do: what, wait, dryRun } = request;
    if (what === 'status') return { ...(await service.status(found, its)), action: 'none', finished: true };
    return what === 'start' ? service.wake(found, { wait, dryRun }, its) : service.change(found, { what, wait }, its);
  }

  return async (event, context) => {
    const its = scope(context);
    const request = parseRequest(await readJson(event, 64 * 1024));
    const wanted = { ...request.wanted, shown: request.shown };
    const { found, result } = await onFound(service, wanted, its, async (found) => ({
      found,
      result: await run(found, request, its),
    }));
    const body = toBody(found, result, toMessage(found.name, result, request));
    const told = request.do === 'status' || request.dryRun || !result.finished;
    const containers = told ? { containers: result.containers.map(toContainer) } : {};
    const plan = request.dryRun ? { dry_run: true, plan: result.plan } : {};
    if (result.finished) return json(200, { ...body, ...plan, ...containers });
    return json(202, { ...body, ...containers }, { 'Retry-After': '5' });
  };
}

/** GET /services: what can be started, and its state. Never without a key, whatever AUTH says. */
export function createListRoute({ service, scope }: HandlerOptions): FunctionHandler {
  return async (_event, context) => {
    if (context.caller.method === 'none') {
      throw new HttpError(403, 'This list needs a key: add api-key to AUTH', { code: 'key_required' });
    }
    const services = await service.list(scope(context));
    return json(200, {
      services: services.map(({ verdict, startable, ...found }) => ({
        ...toCandidate(found),
        status: verdict,
        startable,
      })),
    });
  };
}
