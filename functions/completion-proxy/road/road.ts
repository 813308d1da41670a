import { pipeline } from 'node:stream';
import { toProblem } from '#shared/http/problem.ts';
import type { Upstream } from '../backends/upstream.ts';
import { ambiguousBody, createBodyWatch } from '../routing/body-watch.ts';
import { dialectOf, findLlmRoute, type LlmRoute } from '../routing/llm-route.ts';
import { planCall } from '../routing/plan.ts';
import { type RequestScan, scanRequest, withModel } from '../routing/request-scan.ts';
import { readTrace } from '../traces/trace.ts';
import { type AttemptOptions, attempt } from './attempts.ts';
import { Call, type RoadAnswer, type RoadRequest } from './call.ts';
import { type KeptBody, keepBody } from './kept-body.ts';
import type { CallFacts, Observe } from './observer.ts';
import { flowsThroughEveryHop } from './padding.ts';

export interface RoadOptions extends AttemptOptions {
  upstreams: readonly Upstream[];
  /** Names that callers use, and the model that each of them is. */
  modelAliases: ReadonlyMap<string, string>;
  /** Bodies up to this size are kept for another attempt; the model is looked for in as much. */
  retryBodyBytes: number;
  /** Silence after which a comment goes into an event stream; 0 is never. */
  ssePingMs: number;
  /** Told of bytes that pushed a stream through buffers on its way; undefined: none is pushed. */
  onPadded?: ((bytes: number) => void) | undefined;
  observe?: Observe;
  /** Throws HttpError for a call that its caller may not make. */
  admit?: (facts: CallFacts) => void;
}

/** Carries a call to a backend and the answer back. Rejects with HttpError or UpstreamError when there is none. */
export type Road = (request: RoadRequest) => Promise<RoadAnswer>;

const nothing: RequestScan = { isJson: false, ambiguous: false };
const emptyHead = Buffer.alloc(0);
const keptMethods = new Set(['PUT', 'DELETE', 'OPTIONS', 'GET', 'HEAD']);

/** `GET /v1/models/<id>` names a model in its path. */
function modelInPath({ method, path }: RoadRequest): string | undefined {
  if (method !== 'GET' || !path.startsWith('/v1/models/')) return undefined;
  try {
    return decodeURIComponent(path.slice('/v1/models/'.length));
  } catch {
    return undefined;
  }
}

export function createRoad(options: RoadOptions): Road {
  const { upstreams, modelAliases, retryBodyBytes, ssePingMs, onPadded, observe } = options;

  function takeBody(request: RoadRequest, route: LlmRoute | undefined) {
    if (!request.hasBody) return undefined;
    if (route === undefined && !keptMethods.has(request.method)) return { head: emptyHead, stream: request.body };
    return keepBody(request.body, retryBodyBytes, request.headers['content-length']);
  }

  function begin(
    request: RoadRequest,
    route: LlmRoute | undefined,
    given: KeptBody | undefined,
    { resolve, reject }: { resolve: (answer: RoadAnswer) => void; reject: (error: unknown) => void },
  ): void {
    let body = given;
    let scan = nothing;
    if (body !== undefined && route !== undefined) {
      scan = scanRequest('whole' in body ? body.whole : body.head, request.headers['content-type']);
    }
    if (scan.ambiguous) throw ambiguousBody();
    if (body !== undefined && route !== undefined && !('whole' in body)) {
      const watch = createBodyWatch(request.headers['content-type']);
      // Whoever breaks off, the other learns of it.
      body = { head: body.head, stream: pipeline(body.stream, watch, () => undefined) };
    }
    const requestedModel = scan.model ?? modelInPath(request);
    const alias = requestedModel === undefined ? undefined : modelAliases.get(requestedModel);
    if (alias !== undefined && scan.model !== undefined && body !== undefined && 'whole' in body) {
      body = { whole: withModel(body.whole, scan, alias) };
      scan = scanRequest(body.whole, request.headers['content-type']);
    }
    const dialect = route?.dialect ?? dialectOf(request.path);
    // Ollama's own routes stream unless told otherwise.
    const stream = scan.stream ?? (dialect === 'ollama' && route?.hasTerminator === true);
    const facts: CallFacts = {
      callId: request.callId,
      caller: request.caller,
      method: request.method,
      path: request.path,
      dialect,
      isLlm: route !== undefined,
      requestedModel,
      endUser: scan.endUser,
      stream,
      trace: route === undefined ? undefined : readTrace(request.headers),
    };
    const { path, onlyKind } = request;
    const observer = observe?.(facts, body !== undefined && 'whole' in body ? body.whole : undefined);
    let plan: readonly Upstream[];
    try {
      options.admit?.(facts);
      plan = planCall(upstreams, { path, model: alias ?? requestedModel, onlyKind }, options.random);
    } catch (error) {
      observer?.ended?.('refused', toProblem(error).status);
      throw error;
    }
    const call = new Call({ request, route, scan, facts }, observer, resolve, reject);
    // Ollama's own streams are lines of JSON, which have no comments.
    if (stream && route !== undefined && dialect !== 'ollama') {
      if (ssePingMs > 0) call.keepAlive(ssePingMs);
      // A call of our own has no hops before it.
      const isCallers = onlyKind === undefined;
      if (onPadded !== undefined && isCallers && !flowsThroughEveryHop(request.headers.accept)) call.padWith(onPadded);
    }
    attempt(call, plan, body, options);
  }

  // One promise for the whole way; what is thrown on it rejects.
  return (request) =>
    new Promise((resolve, reject) => {
      const route = findLlmRoute(request.method, request.path);
      const ways = { resolve, reject };
      const body = takeBody(request, route);
      if (body instanceof Promise) body.then((kept) => begin(request, route, kept, ways)).catch(reject);
      else begin(request, route, body, ways);
    });
}
