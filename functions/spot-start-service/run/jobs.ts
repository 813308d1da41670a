import { HttpError, UpstreamError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import { toProblem } from '#shared/http/problem.ts';
import type { Candidate } from '../resolve/match.ts';
import type { Action, Failure } from '../service.ts';
import { createHold, type HoldOptions, type StillHeld } from './hold.ts';

export interface Job<Result> {
  action: Exclude<Action, 'none'>;
  result: Promise<Result>;
}

export const keyOf = ({ endpoint, project }: Candidate) => `${endpoint.id}/${project}`;

/**
 * What is being done, one job for each service: callers share it, and it goes on when they leave, since Portainer would
 * not cancel it either. A job that failed is remembered until the next one.
 */
export function createJobs<Result>({ lease, now, sleep }: HoldOptions) {
  const hold = createHold({ lease, now, sleep });
  const running = new Map<string, Job<Result>>();
  const failures = new Map<string, Failure>();
  let ended = 0;

  return {
    /** A look that began before this number changed may be of a time before somebody's start. */
    ended: () => ended,
    /** False where a look must be taken again once the lease is held. */
    isAlone: lease === undefined,
    of: (candidate: Candidate): Job<Result> | undefined => running.get(keyOf(candidate)),
    failureOf: (candidate: Candidate): Failure | undefined => failures.get(keyOf(candidate)),
    failedAtMs: (candidate: Candidate): number | undefined => failures.get(keyOf(candidate))?.atMs,

    /** Joins the job of this service, or begins one. */
    run(
      candidate: Candidate,
      action: Job<Result>['action'],
      log: Logger,
      work: (stillHeld: StillHeld) => Promise<Result>,
    ) {
      const key = keyOf(candidate);
      const before = running.get(key);
      if (before !== undefined) return before;
      const job: Job<Result> = { action, result: Promise.resolve() as never };
      running.set(key, job);
      job.result = hold(`start/${key}`, log, work)
        .then(
          (result) => {
            failures.delete(key);
            return result;
          },
          (error) => {
            const { code, message } = toProblem(error);
            if (failures.size > 1_000) failures.clear();
            failures.set(key, { code, message, atMs: now() });
            if (!(error instanceof HttpError || error instanceof UpstreamError)) log.error('a start failed', { error });
            throw error;
          },
        )
        .finally(() => {
          ended += 1;
          running.delete(key);
        });
      // Whoever still waits gets it; when nobody does, it is remembered and logged.
      job.result.catch(() => {});
      return job;
    },

    /** For the end of the process: a stop without the start after it would leave a service down. */
    async settle(limitMs: number): Promise<void> {
      const all = Promise.allSettled([...running.values()].map(({ result }) => result));
      await Promise.race([all, sleep(limitMs)]);
    },
  };
}

export type Jobs<Result> = ReturnType<typeof createJobs<Result>>;
