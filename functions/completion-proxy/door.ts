import { HttpError } from '#shared/errors.ts';
import { defineFunction, type FunctionHandler } from '#shared/http/define.ts';
import type { FunctionEvent, FunctionResponse, Handler } from '#shared/http/function.ts';
import type { Alerts } from './alerts/open.ts';
import { toErrorBody } from './dialect.ts';
import { answerOwn, nobody } from './handler.ts';
import { type Journal, originOf } from './journal.ts';
import type { Cors } from './own/cors.ts';
import type { FindRoute } from './own/routes.ts';

export interface DoorParts {
  findRoute: FindRoute;
  cors: Cors | undefined;
  journal: Journal;
  /** Wraps the log of a call. */
  watch?: Alerts['watch'] | undefined;
}

/** The backend is ours to choose: an absolute-form target would name another. */
const badTarget: FunctionHandler = async () => {
  throw new HttpError(400, 'The request target must be a path', { code: 'bad_request_target' });
};

function withFields(
  response: FunctionResponse,
  callId: string,
  cors: Record<string, string> | undefined,
): FunctionResponse {
  const { headers } = response;
  if (!Array.isArray(headers)) return { ...response, headers: { ...headers, 'X-Request-ID': callId, ...cors } };
  // A passed-through answer has its id by now.
  if (cors !== undefined) headers.push(...Object.entries(cors));
  return response;
}

/**
 * What every call meets before anyone asks for its key: targets that name another server are refused, preflights and open
 * routes are answered. Notes every call, refused ones as well, in what `/logs` shows, and answers the request id.
 */
export function withDoor(inner: Handler, { findRoute, cors, journal, watch }: DoorParts): Handler {
  const anyone = { authenticate: async () => nobody, errorBody: toErrorBody };
  const refuse = defineFunction(anyone, badTarget);
  const openly = defineFunction(anyone, async (event, context) =>
    answerOwn(findRoute(event.path)!.route!, event, context),
  );
  const choose = (event: FunctionEvent): Handler => {
    if (!event.url.startsWith('/')) return refuse;
    return findRoute(event.path)?.route?.isOpen === true ? openly : inner;
  };
  return async (event, given) => {
    const context = watch === undefined ? given : { ...given, log: watch(given.log, { call_id: given.callId }) };
    const note = journal.begin(originOf(event), context.callId, event.method, event.path);
    const response = cors?.preflight(event) ?? (await choose(event)(event, context));
    journal.end(note, response.status);
    return withFields(response, context.callId, cors?.fields(event));
  };
}
