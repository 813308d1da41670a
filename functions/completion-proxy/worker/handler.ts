import type { Readable } from 'node:stream';
import { UpstreamError } from '#shared/errors.ts';
import type { FunctionContext, FunctionEvent, FunctionResponse, Handler } from '#shared/http/function.ts';
import { json, text } from '#shared/http/respond.ts';
import type { Gate } from '../road/admission.ts';
import type { SignatureForm } from '../vast/signature.ts';
import type { Forward } from './forward.ts';
import type { Load, Work } from './load.ts';
import { createPathCheck, readCall, type WorkerCall } from './read-call.ts';
import type { createReplayCheck, Verifier } from './verifier.ts';

export interface WorkerParts {
  load: Load;
  gate: Gate;
  forward: Forward;
  /** Undefined where calls need no signature. */
  verifier: Verifier | undefined;
  /** Undefined where tickets may be used again. */
  replay: ReturnType<typeof createReplayCheck> | undefined;
  blockedPaths: readonly string[];
  /** In seconds; Infinity is no rule. */
  maxWaitS: number;
  /** The workload of a ticket whose cost is 1 or less; 0 takes it as it is. */
  defaultCost: number;
  clock: () => number;
}

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);
const empty = (status: number, headers: Record<string, string> = {}): FunctionResponse => ({ status, headers });

function toWork({ auth }: WorkerCall, defaultCost: number): Work {
  const cost = auth === undefined ? 1 : Number(auth.cost);
  const workload = cost <= 1 && defaultCost > 0 ? defaultCost : Math.max(cost, 0);
  if (auth === undefined) return { workload, requestIdx: undefined, reqnum: undefined };
  return { workload, requestIdx: Number(auth.request_idx), reqnum: Number(auth.reqnum) };
}

/** Answers what a Vast.ai worker answers: its statuses, with the backend's own answer passed on as it comes. */
export function createWorkerHandler(parts: WorkerParts): Handler {
  const { load, gate, forward, verifier, replay, maxWaitS, defaultCost, clock } = parts;
  const isBlocked = createPathCheck(parts.blockedPaths);

  /** A refusal touches no count: whoever has no ticket must not be able to move the autoscaler's numbers. */
  async function check(call: WorkerCall): Promise<{ refusal: FunctionResponse } | { form: SignatureForm | undefined }> {
    if (verifier === undefined || call.auth === undefined) return { form: undefined };
    const verdict = await verifier.verify(call.auth);
    if (verdict === 'no-key') {
      const error = 'the public key of the autoscaler is not here yet';
      return { refusal: json(503, { error }, { 'Retry-After': '5' }) };
    }
    if (verdict === 'no') return { refusal: call.inQuery ? json(401, { error: 'invalid signature' }) : empty(401) };
    return { form: verdict };
  }

  /** The end of the work is the end of the answer. */
  function watch(body: Readable, hasBody: boolean, work: Work, { signal }: FunctionContext, startedAt: number) {
    // Nobody reads a body that there cannot be.
    let isServed = !hasBody;
    body.once('end', () => {
      isServed = true;
    });
    body.once('close', () => {
      load.end(work, isServed ? 'served' : signal.aborted ? 'cancelled' : 'errored');
      gate.leave(clock() - startedAt);
    });
  }

  async function serve(
    call: WorkerCall,
    form: SignatureForm | undefined,
    event: FunctionEvent,
    context: FunctionContext,
  ): Promise<FunctionResponse> {
    const { signal, log } = context;
    const { auth } = call;
    const work = toWork(call, defaultCost);
    const [path = '/'] = call.target.split('?', 1);
    // Nothing is awaited from here until the ticket is noted: of two at the same moment one is let in.
    if (auth !== undefined && replay?.isReplay(auth, form) === true) {
      return json(401, { error: 'the ticket was used before' });
    }
    if (isBlocked(path)) {
      load.decline(work);
      return json(403, { error: `Path '${path}' is blocked. This endpoint is not available in serverless mode.` });
    }
    if (load.waitS > maxWaitS) {
      load.reject(work);
      return empty(429);
    }
    if (auth !== undefined) replay?.note(auth, form);
    load.begin(work);
    try {
      await gate.enter('', signal);
    } catch {
      load.end(work, 'cancelled');
      return empty(499);
    }
    const startedAt = clock();
    try {
      const answer = await forward(call, event, context);
      const hasBody = event.method !== 'HEAD' && answer.status !== 204 && answer.status !== 304;
      watch(answer.body, hasBody, work, context, startedAt);
      return answer;
    } catch (error) {
      gate.leave(clock() - startedAt);
      load.end(work, signal.aborted ? 'cancelled' : 'errored');
      if (signal.aborted) return empty(499);
      log.warn('the backend gave no answer', { error: new UpstreamError('The backend', 'network', String(error)) });
      return empty(500);
    }
  }

  return async (event, context) => {
    const { method, path } = event;
    if (path === '/ping' && (method === 'GET' || method === 'HEAD')) return text(200, 'pong');
    if (!methods.has(method)) return empty(405, { Allow: [...methods].join(', ') });
    const read = await readCall(event, verifier === undefined);
    if ('refusal' in read) return read.refusal;
    const { call } = read;
    const checked = await check(call);
    if ('refusal' in checked) {
      context.log.info('refused', { path, status: checked.refusal.status });
      return checked.refusal;
    }
    const { form } = checked;
    const startedAt = clock();
    const response = await serve(call, form, event, context);
    if (form !== undefined && Array.isArray(response.headers)) response.headers.push([formHeader, form]);
    context.log.info('call', { method, path, status: response.status, duration_ms: Math.round(clock() - startedAt) });
    return response;
  };
}

/** Which form of the signed message matched: what --self-test shows. */
export const formHeader = 'X-Serverless-Signature-Form';
