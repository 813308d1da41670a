import type { Caller } from '#shared/auth/authenticate.ts';
import type { Backend } from '../backends/backend.ts';
import type { Dialect } from '../routing/llm-route.ts';
import type { Trace } from '../traces/trace.ts';

/** Why a call ended as it did. `refused`: it never reached a backend. */
export type Outcome = 'ok' | 'client_abort' | 'upstream_error' | 'timeout' | 'refused';

export interface CallFacts {
  readonly callId: string;
  readonly caller: Caller;
  readonly method: string;
  readonly path: string;
  readonly dialect: Dialect;
  readonly isLlm: boolean;
  /** As the caller named it; undefined where the call names none. */
  readonly requestedModel: string | undefined;
  /** Whom the caller says that the call is for. */
  readonly endUser: string | undefined;
  /** The body asks for a stream. */
  readonly stream: boolean;
  /** Of calls of a model; the fields of all others pass as they are. */
  readonly trace: Trace | undefined;
}

export interface AttemptFacts {
  /** From 1. */
  readonly number: number;
  readonly backend: Backend;
  /** The name that the backend was asked for. */
  readonly model: string | undefined;
}

export interface AttemptFailure {
  readonly failure: 'timeout' | 'network' | 'status' | 'invalid_response' | 'aborted';
  readonly status: number | undefined;
}

/**
 * The life of one call, told as it happens; what counts usage, keeps records or measures hangs here, and the road knows
 * nothing of it. Calls are synchronous and must neither throw nor keep the chunks that they are shown longer than needed.
 */
export interface CallObserver {
  attemptStarted?(attempt: AttemptFacts): void;
  /** Before the first byte, so that another attempt may follow; or in the middle, and then `ended` follows. */
  attemptFailed?(attempt: AttemptFacts, failure: AttemptFailure): void;
  /** The answer that the caller gets: its head. */
  answered?(attempt: AttemptFacts, status: number, rawHeaders: readonly string[]): void;
  /** The first byte of the answer's body, comments of a stream aside. */
  firstByte?(): void;
  /** A piece of the answer as the backend sent it; also those that a caller who left does not get any more. */
  chunk?(chunk: Buffer): void;
  /** Once, always the last. `status` is the one that the caller got, or would have got. */
  ended?(outcome: Outcome, status: number): void;
}

/**
 * Asked once a call, when it is known what is called. `requestBody` is there where it is kept whole; an observer that holds
 * on to it holds it in memory as long as the call lasts. undefined: nobody watches this one.
 */
export type Observe = (facts: CallFacts, requestBody: Buffer | undefined) => CallObserver | undefined;
