import { HttpError, UpstreamError } from '../errors.ts';

/** What a caller may know of a failure. */
export interface Problem {
  status: number;
  /** One sentence that says what to fix. */
  message: string;
  /** snake_case, stable. */
  code: string;
  headers: Record<string, string>;
  /** An HttpError's own fields of the body. */
  more?: Record<string, unknown>;
}

/** 499: nginx's number for a caller who left; it is logged, nobody reads it. */
export const callerGoneStatus = 499;

const reasons = {
  timeout: 'did not answer in time',
  network: 'could not be reached',
  status: 'answered with an error',
  invalid_response: 'gave an answer that could not be understood',
  aborted: 'was no longer needed',
} as const;

/** The one place that turns an error into an answer. Details of upstreams and of our own faults stay in the log. */
export function toProblem(error: unknown): Problem {
  if (error instanceof HttpError) {
    const { status, message, code, headers, more } = error;
    return { status, message, code, headers, more };
  }
  if (error instanceof UpstreamError) {
    const status = error.failure === 'timeout' ? 504 : error.failure === 'aborted' ? callerGoneStatus : 502;
    const advice = error.advice === undefined ? '' : `: ${error.advice}`;
    return {
      status,
      message: `${error.service} ${reasons[error.failure]}${advice}`,
      code: `upstream_${error.failure}`,
      headers: {},
    };
  }
  return { status: 500, message: 'Internal error: the log has the details', code: 'internal_error', headers: {} };
}
