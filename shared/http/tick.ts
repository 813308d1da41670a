import { HttpError } from '../errors.ts';
import type { FunctionContext, FunctionResponse } from './function.ts';
import { json } from './respond.ts';

export interface TickOptions {
  /** Two ticks closer than this run once: a tick carries no credential, so anyone who reaches the function can send one. */
  minIntervalMs?: number;
  now?: () => number;
}

/**
 * The answer to a scheduled tick: 202 `{"accepted": true}` at once, the job after it. One job at a time (a tick during
 * a run is accepted and does nothing, as the running job does its work); a failed job is logged.
 * Throws HttpError 429 `tick_too_soon`.
 */
export function createTick(
  job: (context: Pick<FunctionContext, 'log' | 'callId'>) => Promise<void>,
  options: TickOptions = {},
): (context: FunctionContext) => Promise<FunctionResponse> {
  const { minIntervalMs = 10_000, now = Date.now } = options;
  let startedAt = Number.NEGATIVE_INFINITY;
  let running = false;

  return async ({ log, callId }) => {
    if (running) return json(202, { accepted: true });
    const waitMs = startedAt + minIntervalMs - now();
    if (waitMs > 0) {
      const seconds = String(Math.ceil(waitMs / 1000));
      throw new HttpError(429, `The last scheduled run was a moment ago: wait ${seconds} s`, {
        code: 'tick_too_soon',
        headers: { 'Retry-After': seconds },
      });
    }
    running = true;
    startedAt = now();
    job({ log, callId })
      .catch((error) => log.error('scheduled run failed', { error }))
      .finally(() => {
        running = false;
      });
    return json(202, { accepted: true });
  };
}
