import { UpstreamError } from '#shared/errors.ts';
import type { AttemptFailure, Outcome } from './observer.ts';

/** An answer that waits for the decision: the caller gets it, or another attempt follows. */
export interface Held {
  deliver(): void;
  drop(): void;
}

/** Why an attempt gave the caller nothing. */
export interface Failure extends AttemptFailure {
  readonly error: UpstreamError;
  readonly retryAfterMs: number | undefined;
  /** The backend's own answer, where it is one. */
  readonly held: Held | undefined;
}

export const callerIsGone = () => new UpstreamError('The backend', 'aborted', 'the caller is gone');
export const endedEarly = () =>
  new UpstreamError('The backend', 'invalid_response', 'the stream ended without its end');
export const tooLong = () =>
  new UpstreamError('The backend', 'invalid_response', 'the answer is too long for one event');

/** The backend gave no answer. */
export const withoutAnswer = (error: UpstreamError): Failure => ({
  failure: error.failure,
  status: undefined,
  error,
  retryAfterMs: undefined,
  held: undefined,
});

/** The backend answered, and another one may do better. */
export function withAnswer(held: Held, status: number, detail: string, retryAfterMs?: number): Failure {
  const error = new UpstreamError('The backend', 'status', detail, { status, retryAfterMs });
  return { failure: 'status', status, error, retryAfterMs, held };
}

export function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof UpstreamError)) return 'refused';
  return error.failure === 'timeout' ? 'timeout' : error.failure === 'aborted' ? 'client_abort' : 'upstream_error';
}
