import { Readable } from 'node:stream';
import type { Authenticate, Caller } from '../auth/authenticate.ts';
import { HttpError } from '../errors.ts';
import { readBytes } from './body.ts';
import { createDoctor, type Diagnosis, type Tick } from './doctor.ts';
import type { FunctionContext, FunctionEvent, FunctionResponse, Handler } from './function.ts';
import { callerGoneStatus, type Problem, toProblem } from './problem.ts';
import { json } from './respond.ts';

export interface CallContext extends FunctionContext {
  caller: Caller;
}

export type FunctionHandler = (
  event: FunctionEvent,
  context: CallContext,
) => FunctionResponse | Promise<FunctionResponse>;

export interface FunctionOptions {
  authenticate: Authenticate;
  /** The shape of an error body, where a function's contract has one of its own. */
  errorBody?: (problem: Problem, callId: string, event: FunctionEvent) => unknown;
  /** The largest body whose signature is checked; 16 MiB by default. */
  maxSignedBodyBytes?: number;
  /** What `npm run doctor` may ask, on `/_doctor`. */
  diagnosis?: Diagnosis;
  /** For durations in the log; performance.now() by default. */
  clock?: () => number;
}

/** DESIGN: flows of the predecessors read `error` as a string, so it stays one. */
const defaultErrorBody = ({ message, code, more }: Problem, callId: string) => ({
  ...more,
  error: message,
  code,
  call_id: callId,
});

const isCallId = ([name]: readonly string[]) => name?.length === 9 && name.toLowerCase() === 'x-call-id';

function withCallId(response: FunctionResponse, callId: string): FunctionResponse {
  const { headers = {} } = response;
  if (Array.isArray(headers)) {
    // Who names it does so at the end.
    const named = isCallId(headers.at(-1) ?? []) || headers.some(isCallId);
    return named ? response : { ...response, headers: [...headers, ['X-Call-Id', callId]] };
  }
  const named = Object.keys(headers).some((name) => name.toLowerCase() === 'x-call-id');
  return named ? response : { ...response, headers: { ...headers, 'X-Call-Id': callId } };
}

/**
 * Wraps a handler: who calls, what went wrong, and one log line per call. Nothing is thrown past it; every answer
 * carries `X-Call-Id`.
 */
export function defineFunction(options: FunctionOptions, handler: FunctionHandler): Handler {
  const { authenticate, errorBody = defaultErrorBody, clock = () => performance.now() } = options;
  const { maxSignedBodyBytes = 16 * 1024 * 1024 } = options;
  const doctor = options.diagnosis && createDoctor(options.diagnosis);
  let lastTick: Tick | undefined;

  return async (event, context) => {
    const startedAt = clock();
    let caller: Caller | undefined;
    let response: FunctionResponse;
    let failure: unknown;
    try {
      let admitted = event;
      const admission = authenticate({
        method: event.method,
        path: event.path,
        headers: event.headers,
        // A signature is checked over the whole body, so the handler gets the bytes that were checked.
        async rawBody() {
          const bytes = await readBytes(event.body, maxSignedBodyBytes);
          admitted = { ...event, body: Readable.from([bytes]) };
          return bytes;
        },
      });
      // Only what is a promise is waited for: each wait costs a call a turn of the microtask queue.
      caller = admission instanceof Promise ? await admission : admission;
      const isTick = caller.method === 'scheduled-tick';
      const examined = isTick ? undefined : doctor?.(admitted, context, lastTick);
      response =
        (examined && (await examined)) ??
        (await handler(admitted, { callId: context.callId, signal: context.signal, log: context.log, caller }));
      if (isTick) lastTick = { at: new Date().toISOString(), status: response.status };
    } catch (error) {
      failure = error;
      const problem = context.signal.aborted
        ? { ...toProblem(error), status: callerGoneStatus, code: 'caller_gone' }
        : toProblem(error);
      response = json(problem.status, errorBody(problem, context.callId, event), problem.headers);
    }
    const fields: Record<string, unknown> = {
      method: event.method,
      path: event.path,
      status: response.status,
      caller: caller?.name,
      duration_ms: Math.round(clock() - startedAt),
    };
    // A refusal is a sentence; only a fault is worth its stack.
    if (failure instanceof HttpError) fields.refused = failure.message;
    else if (failure !== undefined) fields.error = failure;
    if (response.status >= 500) context.log.error('call failed', fields);
    else context.log.info('call', fields);
    return withCallId(response, context.callId);
  };
}
