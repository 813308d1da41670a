import { UpstreamError } from '#shared/errors.ts';
import type { Problem } from '#shared/http/problem.ts';

/** Statuses that say "not now" of the backend, not "wrong" of the call: worth another attempt, and counted by the breaker. */
export const isBad = (status: number) => status === 429 || (status >= 500 && status !== 501 && status !== 505);

/** OpenAI's code, llama.cpp's type, and the sentences of vLLM and Anthropic. */
export const isTooLong = (text: string) =>
  /context_length_exceeded|exceed_context_size|maximum context length|prompt is too long/i.test(text);

export function toError(error: Error & { code?: string }): UpstreamError {
  if (error instanceof UpstreamError) return error;
  const { code = error.name, message } = error;
  const failure = /TIMEOUT|ETIMEDOUT/.test(code) ? 'timeout' : /^HPE_/.test(code) ? 'invalid_response' : 'network';
  return new UpstreamError('The backend', failure, `${code}: ${message}`);
}

/** A backend's error answer as a problem of ours, for a stream that has begun: its own message where it has one. */
export function problemIn(status: number, text: string): Problem {
  const fallback = { status, message: `The backend answered ${status}`, code: 'upstream_status', headers: {} };
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    const message = typeof error === 'string' ? error : (error as { message?: unknown } | undefined)?.message;
    return typeof message === 'string' ? { ...fallback, message } : fallback;
  } catch {
    return fallback;
  }
}
