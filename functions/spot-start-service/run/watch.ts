import { HttpError, UpstreamError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import { toCandidate, toContainer } from '../answer.ts';
import type { Candidate } from '../resolve/match.ts';
import { explain, redact } from './explain.ts';
import type { Observation, Observe } from './observe.ts';

export interface WatcherOptions {
  observe: Observe;
  startTimeoutMs: number;
  now: () => number;
  sleep: (ms: number) => Promise<void>;
}

/** `again`: what was found is not what the plan was made for; look and decide anew. */
export type Outcome = 'done' | 'again';

const pollMs = 1_000;
const settleMs = 10_000;
// As long as Portainer itself lets a deployment take.
const watchLimitMs = 900_000;

const tellLeft = ({ containers, services = [] }: Observation): string => {
  if (containers.length === 0 && services.length === 0) return 'it has no containers now';
  const counts = new Map<string, number>();
  for (const { class: found } of containers) counts.set(found, (counts.get(found) ?? 0) + 1);
  const told = [...counts].map(([found, count]) => `${count} ${found}`).join(', ');
  return containers.length === 0 ? 'Swarm holds its services' : `its containers are now: ${told}`;
};

/** Watches what Portainer was asked for, where the answer does not tell or is not seen. */
export function createWatcher({ observe, startTimeoutMs, now, sleep }: WatcherOptions) {
  /** What is left after a failure, which the answer tells; Portainer's own words go to the log alone. */
  async function fail(candidate: Candidate, log: Logger, told: { code: string; what: string; detail: string }) {
    const left = await observe(candidate, log).catch(() => undefined);
    const reason = explain(told.detail);
    const state = left === undefined ? 'what it was left in is not known' : tellLeft(left);
    const message = `Service ${candidate.name} ${told.what}${reason === undefined ? '' : `: ${reason}`}; ${state}`;
    const detail = redact(told.detail, left?.stack?.env);
    log.error('a service could not be brought up', { service: candidate.name, code: told.code, detail });
    return new HttpError(502, message, {
      code: told.code,
      more: {
        details: { ...toCandidate(candidate), ...(left === undefined ? {} : { status: left.verdict }) },
        containers: (left?.containers ?? []).map(toContainer),
      },
    });
  }

  async function watch<Result>(
    candidate: Candidate,
    log: Logger,
    look: (seen: Observation, sinceMs: number) => Result | undefined | Promise<Result | undefined>,
  ): Promise<Result> {
    const startedAtMs = now();
    for (;;) {
      try {
        const result = await look(await observe(candidate, log), now() - startedAtMs);
        if (result !== undefined) return result;
      } catch (error) {
        // Portainer may be restarting: a look that fails says nothing about the service.
        if (!(error instanceof UpstreamError)) throw error;
        log.warn('a look at a service failed', { service: candidate.name, error });
      }
      if (now() - startedAtMs > watchLimitMs) {
        throw await fail(candidate, log, { code: 'start_lost', what: 'was not up after a long wait', detail: '' });
      }
      await sleep(pollMs);
    }
  }

  return {
    fail,
    watch,

    /**
     * A start whose end we did not see (`unseen`), that may never have arrived (`lost`: silence for twice the usual wait
     * means that it has to be sent again), or that somebody else holds (`refused`: what that one left is looked at anew).
     */
    watchStart(candidate: Candidate, log: Logger, kind: 'unseen' | 'lost' | 'refused'): Promise<Outcome> {
      return watch<Outcome>(candidate, log, async (seen, sinceMs) => {
        const { stack, verdict, containers } = seen;
        if (stack?.status === 'active') return kind === 'refused' ? 'again' : 'done';
        if (stack?.status === 'error') {
          const detail = stack.deploymentError ?? '';
          throw await fail(candidate, log, { code: 'start_failed', what: 'could not be started', detail });
        }
        if (verdict === 'healthy') return 'done';
        if (verdict === 'starting' || verdict === 'deploying') return undefined;
        // Compose makes its containers one by one: half of them for a moment is no failure.
        if (containers.length > 0) return sinceMs < settleMs ? undefined : 'again';
        if (kind === 'lost' && sinceMs > 2 * startTimeoutMs) return 'again';
        if (kind === 'refused' && sinceMs > startTimeoutMs) {
          const what = 'is not started by Portainer, which says that something of its name is there already';
          throw await fail(candidate, log, { code: 'start_refused', what, detail: '' });
        }
        return undefined;
      });
    },

    /** Waits while Portainer deploys. */
    settle: (candidate: Candidate, log: Logger): Promise<void> =>
      watch<true>(candidate, log, ({ verdict }) => (verdict === 'deploying' ? undefined : true)).then(() => undefined),

    /** Waits until it is healthy, `limitMs` at most; resolves with what was seen last. */
    async untilHealthy(candidate: Candidate, limitMs: number, log: Logger): Promise<Observation> {
      const endsAtMs = now() + Math.min(limitMs, watchLimitMs);
      return watch(candidate, log, (seen) =>
        seen.verdict === 'healthy' || now() + pollMs >= endsAtMs ? seen : undefined,
      );
    },
  };
}

export type Watcher = ReturnType<typeof createWatcher>;
