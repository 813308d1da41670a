import * as z from 'zod';
import { HttpError, UpstreamError } from '#shared/errors.ts';
import { readJson } from '#shared/http/body.ts';
import type { CallContext, FunctionHandler } from '#shared/http/define.ts';
import type { FunctionEvent, FunctionResponse, Handler } from '#shared/http/function.ts';
import { json, text } from '#shared/http/respond.ts';
import { alterPrompt } from './altered-prompt.ts';
import type { Backend } from './backend.ts';
import type { Forward } from './forward.ts';
import type { Generator } from './generator.ts';
import { toBackendHeaders, toCallerHeaders } from './headers.ts';
import { type Journal, originOf } from './journal.ts';

export interface ProxyParts {
  chooseBackend: () => Backend | undefined;
  chooseGenerator: () => Generator | undefined;
  forward: Forward;
  journal: Journal;
  completionFallback: boolean;
  now?: () => Date;
  clock?: () => number;
}

const promptBody = z.object({ prompt: z.string().refine((prompt) => prompt.trim() !== '') });

async function readPrompt(event: FunctionEvent): Promise<string> {
  const malformed = () => new HttpError(400, 'Malformed or missing prompt argument', { code: 'malformed_prompt' });
  const body = await readJson(event).catch((error: unknown) => {
    throw error instanceof HttpError && error.status === 400 ? malformed() : error;
  });
  const parsed = promptBody.safeParse(body);
  if (!parsed.success) throw malformed();
  return parsed.data.prompt;
}

/** `POST /completion`: the model's answer, else the altered prompt marked `X-Completion-Source: fallback`. */
async function complete(event: FunctionEvent, context: CallContext, parts: ProxyParts): Promise<FunctionResponse> {
  const { journal, now = () => new Date(), clock = () => performance.now() } = parts;
  const { callId, signal } = context;
  const origin = originOf(event);
  const startedAt = clock();
  const prompt = await readPrompt(event);
  const generator = parts.chooseGenerator();
  try {
    if (generator !== undefined) {
      const completion = await generator.generate(prompt, { signal, callId });
      const latency = Math.round(clock() - startedAt);
      const timestamp = now().toISOString();
      journal.remember({ timestamp, origin, latency, prompt, completion, request_id: callId });
      return json(200, { completion });
    }
  } catch (error) {
    if (!(error instanceof UpstreamError) || signal.aborted || !parts.completionFallback) throw error;
    journal.log('ERROR', origin, callId, `Error while forwarding to the LLM: ${error.failure} ${error.status ?? ''}`);
    context.log.warn('the model failed: answering the altered prompt', { failure: error.failure });
  }
  if (!parts.completionFallback) {
    throw new HttpError(502, 'No model is configured: set OLLAMA_URL', { code: 'no_model' });
  }
  return json(200, { completion: alterPrompt(prompt) }, { 'X-Completion-Source': 'fallback' });
}

/** Every other path: the call as it came to the backend, the answer as it comes to the caller. */
async function passThrough(event: FunctionEvent, context: CallContext, parts: ProxyParts): Promise<FunctionResponse> {
  const { method, headers, rawHeaders } = event;
  const { callId, caller, signal } = context;
  const backend = parts.chooseBackend();
  if (backend === undefined) {
    throw new HttpError(503, 'No backend is configured: set BACKEND_URL', { code: 'no_backend' });
  }
  // The backend is ours to choose: an absolute-form target would name another.
  if (!event.url.startsWith('/')) {
    throw new HttpError(400, 'The request target must be a path', { code: 'bad_request_target' });
  }
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  const answer = await parts.forward({
    origin: backend.origin,
    path: backend.basePath + event.url,
    method,
    headers: toBackendHeaders(rawHeaders, headers, { caller, callId, authorization: backend.authorization }),
    body: hasBody ? event.body : null,
    signal,
  });
  const { status, rawHeaders: answered, body, trailers } = answer;
  return { status, headers: toCallerHeaders(answered, callId), body, trailers };
}

function route(event: FunctionEvent, context: CallContext, parts: ProxyParts): Promise<FunctionResponse> {
  const { journal, now = () => new Date() } = parts;
  // It shows no credential: nothing of a backend's may be spent on it.
  if (context.caller.method === 'scheduled-tick') {
    throw new HttpError(404, 'This function has nothing to do on a schedule', { code: 'no_schedule' });
  }
  const own: Record<string, [method: string, answer: () => FunctionResponse | Promise<FunctionResponse>]> = {
    '/completion': ['POST', () => complete(event, context, parts)],
    '/logs': ['GET', () => text(200, journal.logs())],
    '/history': ['GET', () => text(200, journal.history())],
  };
  if (event.path === '/' && event.method === 'GET') {
    return Promise.resolve(json(200, { status: 'ok', time: now().toISOString() }));
  }
  const found = Object.hasOwn(own, event.path) ? own[event.path] : undefined;
  if (found === undefined) return passThrough(event, context, parts);
  const [method, answer] = found;
  if (event.method !== method && !(event.method === 'HEAD' && method === 'GET')) {
    throw new HttpError(405, `Method ${event.method} not allowed`, {
      code: 'method_not_allowed',
      headers: { Allow: method },
    });
  }
  return Promise.resolve(answer());
}

export const createProxyHandler =
  (parts: ProxyParts): FunctionHandler =>
  async (event, context) =>
    route(event, context, parts);

function withRequestId(response: FunctionResponse, callId: string): FunctionResponse {
  // A passed-through answer has its id by now.
  if (Array.isArray(response.headers)) return response;
  return { ...response, headers: { ...response.headers, 'X-Request-ID': callId } };
}

/** Notes every call, refused ones as well, in what `/logs` shows, and answers the request id. */
export function withJournal(inner: Handler, { journal, clock = () => performance.now() }: ProxyParts): Handler {
  return async (event, context) => {
    const startedAt = clock();
    const origin = originOf(event);
    journal.log('INFO', origin, context.callId, `Incoming request: ${event.method} ${event.path}`);
    const response = await inner(event, context);
    const latencyMs = Math.round(clock() - startedAt);
    const level = response.status >= 500 ? 'ERROR' : response.status >= 400 ? 'WARNING' : 'INFO';
    const message = `Processing ended with status ${response.status} and a latency of ${latencyMs}ms`;
    journal.log(level, origin, context.callId, message);
    return withRequestId(response, context.callId);
  };
}
