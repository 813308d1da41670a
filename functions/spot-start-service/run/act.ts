import type { CallOptions, PortainerClient, PortainerStack } from '#shared/clients/portainer.ts';
import { HttpError, UpstreamError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import { toCandidate, toContainer } from '../answer.ts';
import type { Candidate } from '../resolve/match.ts';
import type { Plan, Step } from '../stack/decide.ts';
import { explain, isEndUnseen, needsNewContainer, redact } from './explain.ts';
import type { Observation } from './observe.ts';

export interface ActorOptions {
  portainer: PortainerClient;
  observe: (candidate: Candidate, log: Logger) => Promise<Observation>;
  /** How long one call that changes something is waited for before the containers are watched instead. */
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

/** Carries out a plan by Portainer's calls, none of which a deadline cancels: what it began is watched, not repeated. */
export function createActor({ portainer, observe, startTimeoutMs, now, sleep }: ActorOptions) {
  const call: CallOptions = { timeoutMs: startTimeoutMs };

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

  /**
   * A start whose end we did not see, or that somebody else holds: the stack's status and the containers tell. `lost`:
   * it may never have arrived, so that silence for twice the usual wait means that it has to be sent again.
   */
  function watchStart(candidate: Candidate, log: Logger, kind: 'unseen' | 'lost' | 'refused'): Promise<Outcome> {
    return watch<Outcome>(candidate, log, async (seen, sinceMs) => {
      const { stack, verdict, containers } = seen;
      if (stack?.status === 'active') return 'done';
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
  }

  async function start(candidate: Candidate, stack: PortainerStack, log: Logger): Promise<Outcome> {
    try {
      const change = await portainer.startStack(stack, call);
      if (change.outcome === 'done') return 'done';
      log.warn('Portainer refused a start: another one holds the stack', {
        stack_id: stack.id,
        reason: redact(change.message, stack.env),
      });
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      if (!isEndUnseen(error)) {
        if (error.failure !== 'status' || error.status !== 500) throw error;
        throw await fail(candidate, log, {
          code: 'start_failed',
          what: 'could not be started',
          detail: error.detail,
        });
      }
      log.warn('the end of a start was not seen: it goes on in Portainer', { stack_id: stack.id, error });
      return watchStart(candidate, log, error.failure === 'timeout' ? 'unseen' : 'lost');
    }
    return watchStart(candidate, log, 'refused');
  }

  /** After the containers are gone: a failure now leaves the service worse than it was, and says so. */
  async function startAgain(candidate: Candidate, stack: PortainerStack, log: Logger): Promise<Outcome> {
    // A start right after the stop meets the name of containers that are still being removed.
    await watch(candidate, log, ({ containers, services = [] }) =>
      containers.length === 0 && services.length === 0 ? true : undefined,
    );
    try {
      return await start(candidate, stack, log);
    } catch (error) {
      if (!(error instanceof HttpError || error instanceof UpstreamError)) throw error;
      const detail = error instanceof UpstreamError ? error.detail : '';
      log.error('a stack was stopped and could not be started again', { stack_id: stack.id, error });
      if (error instanceof HttpError) {
        throw new HttpError(502, `${error.message}. It was stopped to be started anew, and is down`, {
          code: 'start_failed_after_stop',
          more: error.more,
        });
      }
      const what = 'was stopped to be started anew, and Portainer could not start it: it is down now';
      throw await fail(candidate, log, { code: 'start_failed_after_stop', what, detail });
    }
  }

  async function stop(candidate: Candidate, stack: PortainerStack, log: Logger): Promise<void> {
    try {
      // A refusal means that it is inactive already, or that another stop is at it: both are what we want.
      await portainer.stopStack(stack, call);
    } catch (error) {
      if (!isEndUnseen(error)) {
        if (!(error instanceof UpstreamError) || error.status !== 500) throw error;
        throw await fail(candidate, log, { code: 'stop_failed', what: 'could not be stopped', detail: error.detail });
      }
      log.warn('the end of a stop was not seen: it goes on in Portainer', { stack_id: stack.id, error });
    }
    await watch(candidate, log, (seen) =>
      seen.containers.length === 0 && seen.stack?.status !== 'deploying' ? true : undefined,
    );
  }

  async function recreate(candidate: Candidate, stack: PortainerStack, log: Logger): Promise<Outcome> {
    await stop(candidate, stack, log);
    return startAgain(candidate, stack, log);
  }

  async function replace(candidate: Candidate, stack: PortainerStack, log: Logger): Promise<Outcome> {
    for (const { id, state } of (await observe(candidate, log)).containers) {
      // Whatever runs is not ours to remove: the start then fails with Portainer's own refusal.
      if (state !== 'running') await portainer.changeContainer(candidate.endpoint.id, id, 'remove', call);
    }
    return startAgain(candidate, stack, log);
  }

  async function take({ endpoint }: Candidate, { kind, containerId }: Step, log: Logger): Promise<void> {
    try {
      await portainer.changeContainer(endpoint.id, containerId, kind, call);
    } catch (error) {
      if (!isEndUnseen(error)) throw error;
      log.warn('the end of a repair was not seen: it goes on in Docker', { container_id: containerId, error });
    }
  }

  async function repair(candidate: Candidate, plan: Plan & { kind: 'repair' }, seen: Observation, log: Logger) {
    let at: Step | undefined;
    try {
      for (at of plan.steps) await take(candidate, at, log);
      return 'done' as const;
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.failure !== 'status') throw error;
      if (!needsNewContainer(error) || plan.fallback === 'none' || seen.stack === undefined) {
        if (![404, 409, 500].includes(error.status ?? 0)) throw error;
        const what = `could not be repaired: container ${at?.name} did not ${at?.kind}`;
        throw await fail(candidate, log, { code: 'repair_failed', what, detail: error.detail });
      }
      log.warn('only new containers can help: the stack is made anew', { stack_id: seen.stack.id, error });
      // Somebody else may have done it meanwhile.
      if ((await observe(candidate, log)).verdict === 'healthy') return 'again' as const;
      return plan.fallback === 'recreate' ? recreate(candidate, seen.stack, log) : replace(candidate, seen.stack, log);
    }
  }

  return {
    /** Resolves when Portainer's calls have returned. Throws HttpError that says what state was left. */
    carryOut(
      candidate: Candidate,
      plan: Exclude<Plan, { kind: 'none' | 'refuse' }>,
      seen: Observation,
      log: Logger,
    ): Promise<Outcome> {
      if (plan.kind === 'repair') return repair(candidate, plan, seen, log);
      const stack = seen.stack as PortainerStack;
      if (plan.kind === 'start-stack') return start(candidate, stack, log);
      return plan.kind === 'recreate' ? recreate(candidate, stack, log) : replace(candidate, stack, log);
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

    /** Stops by Portainer's call; containers outside its stacks one by one, dependants first. */
    async stop(candidate: Candidate, seen: Observation, log: Logger): Promise<void> {
      if (seen.stack !== undefined) return stop(candidate, seen.stack, log);
      for (const { id } of seen.containers.toReversed()) {
        await portainer.changeContainer(candidate.endpoint.id, id, 'stop', call);
      }
    },

    /** Restarts each container in the order of dependencies; they are kept. */
    async restart(candidate: Candidate, containerIds: string[]): Promise<void> {
      for (const id of containerIds) await portainer.changeContainer(candidate.endpoint.id, id, 'restart', call);
    },
  };
}

export type Actor = ReturnType<typeof createActor>;
