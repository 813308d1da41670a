import type { Caller } from '#shared/auth/authenticate.ts';
import { HttpError } from '#shared/errors.ts';
import type { CallContext, FunctionHandler } from '#shared/http/define.ts';
import type { FunctionEvent, FunctionResponse } from '#shared/http/function.ts';
import type { Upstream } from './backends/upstream.ts';
import type { Limits } from './callers/limits.ts';
import { timesPassed, toCallerHeaders } from './headers.ts';
import { noBackend } from './own/models.ts';
import type { FindRoute, OwnRoute } from './own/routes.ts';
import type { Road } from './road/road.ts';

export interface ProxyParts {
  upstreams: readonly Upstream[];
  road: Road;
  findRoute: FindRoute;
  /** `/proxy/<path>` is the backend's `<path>`: the way to those that our own routes hide. */
  hasProxyPrefix: boolean;
  limits: Pick<Limits, 'headers'>;
  /** CORS is ours: the backend's fields of it are left out. */
  withoutCors: boolean;
}

const maxTimesPassed = 5;
const proxyPrefix = '/proxy';

/** Answers by a route of ours. Throws HttpError 405 `method_not_allowed`. */
export function answerOwn(route: OwnRoute, event: FunctionEvent, context: CallContext) {
  if (event.method === route.method || (event.method === 'HEAD' && route.method === 'GET')) {
    return route.answer(event, context);
  }
  throw new HttpError(405, `Method ${event.method} not allowed`, {
    code: 'method_not_allowed',
    headers: { Allow: route.method },
  });
}

/** Any other path: the call as it came to the backend, the answer as it comes to the caller. */
async function passThrough(event: FunctionEvent, context: CallContext, parts: ProxyParts): Promise<FunctionResponse> {
  const { method, headers, rawHeaders, body } = event;
  const { callId, caller, signal, log } = context;
  if (parts.upstreams.length === 0) throw noBackend();
  if (headers.via !== undefined && timesPassed(headers) > maxTimesPassed) {
    throw new HttpError(508, 'The call goes round in circles: a backend is this proxy itself', {
      code: 'loop_detected',
    });
  }
  const isPrefixed = parts.hasProxyPrefix && event.path.startsWith(`${proxyPrefix}/`);
  const target = isPrefixed ? event.url.slice(proxyPrefix.length) : event.url;
  const path = isPrefixed ? event.path.slice(proxyPrefix.length) : event.path;
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  const call = { method, target, path, headers, rawHeaders, body, hasBody, caller, callId, signal, log };
  // A short body comes with its head, and is there when the parser has had its turn: nobody has to listen for it then.
  if (hasBody) await undefined;
  const answer = await parts.road(call);
  const limits = parts.limits.headers(caller.name);
  const fields = toCallerHeaders(answer.rawHeaders, {
    callId,
    withoutCors: parts.withoutCors,
    // What a backend tells of our account there is not what its caller may do here: clients pace themselves by these.
    withoutLimits: limits.length > 0,
    trace: answer.trace,
  });
  for (const field of limits) fields.push(field);
  // Clients retry as well: what we could not get over is not better for being asked three times as often.
  if (answer.isFinalFailure && answer.attempts > 1) fields.push(['x-should-retry', 'false']);
  fields.push(['X-Call-Id', callId]);
  return { status: answer.status, headers: fields, body: answer.takeBody(), trailers: answer.trailers };
}

export const createProxyHandler =
  (parts: ProxyParts): FunctionHandler =>
  (event, context) => {
    // It shows no credential: nothing of a backend's may be spent on it.
    if (context.caller.method === 'scheduled-tick') {
      throw new HttpError(404, 'This function has nothing to do on a schedule', { code: 'no_schedule' });
    }
    const found = parts.findRoute(event.path);
    if (found === undefined) return passThrough(event, context, parts);
    const { route } = found;
    if (route === undefined) throw new HttpError(404, 'There is no such route', { code: 'no_such_route' });
    if (route.isShared === true && event.method !== route.method && !event.path.startsWith('/_proxy')) {
      return passThrough(event, context, parts);
    }
    return answerOwn(route, event, context);
  };

export const nobody: Caller = { name: 'anonymous', method: 'none' };
