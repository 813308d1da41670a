import { HttpError } from '#shared/errors.ts';
import { sleep as realSleep } from '#shared/retry.ts';
import { type FindCarrier, isAvailable, type Upstream } from '../backends/upstream.ts';
import { prepare } from './ask.ts';
import type { Call } from './call.ts';
import { callerIsGone, type Failure, outcomeOf } from './failure.ts';
import type { KeptBody } from './kept-body.ts';
import { Passage } from './passage.ts';

export interface AttemptOptions {
  find: FindCarrier;
  /** More attempts at the same backend, before the next one in order is asked. */
  retries: number;
  /** Upper bound of the first wait; it doubles with each retry. */
  retryBaseMs: number;
  /** A backend that asks for more patience (Retry-After) is not waited for. */
  retryMaxWaitMs: number;
  /** What callers used is held against them: no answer of a model may come compressed, which nothing can be read in. */
  readsAll?: boolean;
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
  random?: () => number;
}

const idempotent = new Set(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS']);

function canRepeat({ request, route }: Call, body: KeptBody | undefined): boolean {
  if (body !== undefined && !('whole' in body)) return false;
  return route !== undefined || idempotent.has(request.method);
}

/** Whether the same backend may be asked again: it refused or was cut off. One that was silent has had its time. */
const isWorthRepeating = ({ failure, status, error }: Failure) =>
  status !== 400 && (failure !== 'timeout' || error.detail.startsWith('ETIMEDOUT'));

/** How long to wait before the same backend is asked again; undefined where it asks for more patience than we have. */
function waitBefore(retry: number, { retryAfterMs }: Failure, options: AttemptOptions): number | undefined {
  const { retryBaseMs, retryMaxWaitMs, random = Math.random } = options;
  if (retryAfterMs !== undefined) return retryAfterMs <= retryMaxWaitMs ? retryAfterMs : undefined;
  return random() * Math.min(retryMaxWaitMs, retryBaseMs * 2 ** retry);
}

/** A place at the backend; undefined when nobody has to wait for it. */
const enter = ({ gate }: Upstream, { request }: Call) =>
  gate.tryEnter() ? undefined : gate.enter(request.caller.name, request.signal);

/**
 * Carries a call to the backends of `plan`, in order, until one has answered its first byte: repeats at the same one where
 * that can help, then the next. The caller gets the last answer, or the last error. Never throws: the call itself fails.
 */
export async function attempt(
  call: Call,
  plan: readonly Upstream[],
  body: KeptBody | undefined,
  options: AttemptOptions,
): Promise<void> {
  const { signal } = call.request;
  const { sleep = realSleep } = options;
  const repeatable = canRepeat(call, body);
  let failure: Failure | undefined;
  let refusal: unknown;
  try {
    for (const [index, upstream] of plan.entries()) {
      if (index > 0 && !isAvailable(upstream)) continue;
      call.hasOthers = repeatable && call.route !== undefined && index + 1 < plan.length;
      const { backend } = upstream;
      // Before there is a place to give back.
      const found = options.find(backend);
      const carrier = found instanceof Promise ? await found : found;
      for (let retry = 0; ; retry++) {
        const place = enter(upstream, call);
        if (place !== undefined) {
          try {
            await place;
          } catch (error) {
            if (signal.aborted) throw error;
            // This one has no place in time; the next may have.
            refusal = error;
            break;
          }
        }
        failure?.held?.drop();
        call.attempts += 1;
        const model =
          call.scan.model === undefined ? undefined : (backend.aliases.get(call.scan.model) ?? call.scan.model);
        const passage = new Passage(call, upstream, { number: call.attempts, backend, model });
        failure = await passage.start(carrier, prepare(call, upstream, body, options.readsAll));
        if (failure === undefined) return;
        if (signal.aborted || !repeatable) return conclude(call, failure);
        if (retry >= (backend.retries ?? options.retries) || !isWorthRepeating(failure)) break;
        const waitMs = waitBefore(retry, failure, options);
        if (waitMs === undefined) break;
        failure.held?.drop();
        // What is dropped is not the caller's any more, whatever becomes of the retry.
        failure = { ...failure, held: undefined };
        await sleep(waitMs, signal);
      }
    }
    if (failure !== undefined) conclude(call, failure);
    else throw refusal ?? new HttpError(503, 'No backend is available', { code: 'no_backend_available' });
  } catch (error) {
    failure?.held?.drop();
    const reason = signal.aborted ? callerIsGone() : error;
    call.fail(reason, outcomeOf(reason));
  }
}

/** Nothing more is tried: the backend's own answer where there is one, else our error. */
function conclude(call: Call, { held, error }: Failure): void {
  if (held !== undefined && !call.request.signal.aborted) held.deliver();
  else {
    held?.drop();
    call.fail(error.cause instanceof HttpError ? error.cause : error, outcomeOf(error));
  }
}
