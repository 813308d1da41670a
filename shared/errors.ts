/** A refusal whose message the caller is meant to read. `code` is snake_case and stable: flows branch on it. */
export class HttpError extends Error {
  readonly status: number;
  readonly code: string;
  readonly headers: Record<string, string>;
  /** More fields of the error body, where a function's contract has some: safe to show. */
  readonly more: Record<string, unknown>;

  constructor(
    status: number,
    message: string,
    options: { code: string; headers?: Record<string, string>; more?: Record<string, unknown> },
  ) {
    super(message);
    this.name = 'HttpError';
    this.status = status;
    this.code = options.code;
    this.headers = options.headers ?? {};
    this.more = options.more ?? {};
  }
}

export type UpstreamFailure = 'timeout' | 'network' | 'status' | 'invalid_response' | 'aborted';

/**
 * A system that we call did not do its part. `detail` is for the operator's log and is never shown to a caller;
 * `advice` is a sentence safe to show, saying what to fix ("check LITELLM_API_KEY").
 */
export class UpstreamError extends Error {
  readonly service: string;
  readonly failure: UpstreamFailure;
  readonly detail: string;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;
  readonly advice: string | undefined;

  constructor(
    service: string,
    failure: UpstreamFailure,
    detail: string,
    options: { status?: number | undefined; retryAfterMs?: number | undefined; advice?: string | undefined } = {},
  ) {
    super(`${service}: ${failure}${options.status === undefined ? '' : ` ${options.status}`}: ${detail}`);
    this.name = 'UpstreamError';
    this.service = service;
    this.failure = failure;
    this.detail = detail;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
    this.advice = options.advice;
  }
}

/** Start-up only: names every bad setting and the value of none, so that a secret pasted into the wrong one stays secret. */
export class ConfigError extends Error {
  readonly problems: string[];

  constructor(problems: string[]) {
    super(`Bad configuration:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}
