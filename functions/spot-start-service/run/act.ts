import type { CallOptions, ContainerAction, PortainerClient, PortainerStack } from '#shared/clients/portainer.ts';
import { HttpError, UpstreamError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import type { Candidate } from '../resolve/match.ts';
import { inDependencyOrder } from '../stack/containers.ts';
import type { Plan } from '../stack/decide.ts';
import { isEndUnseen, isTakenByItsOwn, needsNewContainer, redact } from './explain.ts';
import type { StillHeld } from './hold.ts';
import type { Observation, Observe } from './observe.ts';
import type { Outcome, Watcher } from './watch.ts';

export interface ActorOptions {
  portainer: PortainerClient;
  observe: Observe;
  watcher: Watcher;
  /** How long one call that changes something is waited for before the containers are watched instead. */
  startTimeoutMs: number;
}

interface Deed {
  kind: ContainerAction;
  containerId: string;
  name: string;
}

const isUp = (state: string) => ['running', 'paused', 'restarting'].includes(state);
const toDeed =
  (kind: ContainerAction) =>
  ({ id, name }: { id: string; name: string }): Deed => ({ kind, containerId: id, name });
/** What a plan to stop and start was made for: the same stack status, and the same containers, as far up. */
const fingerprint = ({ stack, containers }: Observation) =>
  JSON.stringify([stack?.status, containers.map(({ id, state }) => `${id} ${isUp(state)}`).toSorted()]);

/** Carries out a plan by Portainer's calls, none of which a deadline cancels: what it began is watched, not repeated. */
export function createActor({ portainer, observe, watcher, startTimeoutMs }: ActorOptions) {
  const { fail, watch, watchStart } = watcher;
  const call: CallOptions = { timeoutMs: startTimeoutMs };

  async function start(candidate: Candidate, stack: PortainerStack, log: Logger): Promise<Outcome> {
    const refused = (reason: string) => {
      log.warn('Portainer refused a start: another one holds the stack', {
        stack_id: stack.id,
        reason: redact(reason, stack.env),
      });
      return watchStart(candidate, log, 'refused');
    };
    try {
      const change = await portainer.startStack(stack, call);
      return change.outcome === 'done' ? 'done' : await refused(change.message);
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      if (!isEndUnseen(error)) {
        if (error.failure !== 'status' || error.status !== 500) throw error;
        // Two starts that Portainer took side by side: the later one finds the names of its containers taken.
        const seen = await observe(candidate, log).catch(() => undefined);
        if (isTakenByItsOwn(error.detail, seen?.containers ?? [])) return refused(error.detail);
        throw await fail(candidate, log, { code: 'start_failed', what: 'could not be started', detail: error.detail });
      }
      log.warn('the end of a start was not seen: it goes on in Portainer', { stack_id: stack.id, error });
      // A proxy that gave up with 504 had passed it on.
      return watchStart(candidate, log, error.failure === 'timeout' || error.status === 504 ? 'unseen' : 'lost');
    }
  }

  /** After the containers `before` are gone: a failure now leaves the service worse than it was, and says so. */
  async function startAgain(candidate: Candidate, stack: PortainerStack, before: Observation, log: Logger) {
    const old = new Set(before.containers.map(({ id }) => id));
    // A start right after the stop meets the name of containers that are still being removed.
    const left = await watch(candidate, log, (seen) =>
      seen.stack?.status === 'deploying' ||
      seen.containers.some(({ id }) => old.has(id)) ||
      (seen.containers.length === 0 && (seen.services ?? []).length > 0)
        ? undefined
        : seen,
    );
    // Another replica was quicker, and is at it.
    if (left.containers.length > 0) return watchStart(candidate, log, 'refused');
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

  /** `refused`: Portainer takes it for stopped already, or is deploying it. */
  async function stopStack(candidate: Candidate, stack: PortainerStack, log: Logger): Promise<'done' | 'refused'> {
    try {
      return (await portainer.stopStack(stack, call)).outcome;
    } catch (error) {
      if (!isEndUnseen(error)) {
        if (!(error instanceof UpstreamError) || error.status !== 500) throw error;
        throw await fail(candidate, log, { code: 'stop_failed', what: 'could not be stopped', detail: error.detail });
      }
      log.warn('the end of a stop was not seen: it goes on in Portainer', { stack_id: stack.id, error });
      return 'done';
    }
  }

  async function take({ endpoint }: Candidate, { kind, containerId }: Deed, log: Logger): Promise<void> {
    try {
      await portainer.changeContainer(endpoint.id, containerId, kind, call);
    } catch (error) {
      // 404: it is gone; 409: Docker is removing it.
      if (kind === 'remove' && error instanceof UpstreamError && [404, 409].includes(error.status ?? 0)) return;
      if (!isEndUnseen(error)) throw error;
      log.warn('the end of a repair was not seen: it goes on in Docker', { container_id: containerId, error });
    }
  }

  /** One after the other. What Docker refuses is thrown as a failure that tells the container, unless `pardon` takes it. */
  async function takeAll(candidate: Candidate, deeds: Deed[], log: Logger, pardon?: (error: UpstreamError) => boolean) {
    for (const deed of deeds) {
      try {
        await take(candidate, deed, log);
      } catch (error) {
        if (!(error instanceof UpstreamError) || error.failure !== 'status' || pardon?.(error)) throw error;
        if (![404, 409, 500].includes(error.status ?? 0)) throw error;
        const what = `could not be repaired: container ${deed.name} did not ${deed.kind}`;
        throw await fail(candidate, log, { code: 'repair_failed', what, detail: error.detail });
      }
    }
  }

  /** Stop, then start. `replace`: Portainer takes it for stopped and so refuses the stop; its containers go one by one. */
  async function makeAnew(
    candidate: Candidate,
    kind: 'recreate' | 'replace',
    planned: Observation,
    { log, stillHeld }: { log: Logger; stillHeld: StillHeld },
  ): Promise<Outcome> {
    // Another replica may have done it since: what stands there now must still be what was found broken.
    const seen = await observe(candidate, log);
    const { stack } = seen;
    if (stack === undefined || !(await stillHeld()) || fingerprint(seen) !== fingerprint(planned)) return 'again';
    if (kind === 'recreate') {
      const outcome = await stopStack(candidate, stack, log);
      if (outcome === 'refused') return watchStart(candidate, log, 'lost');
    } else {
      const ordered = inDependencyOrder(seen.containers).toReversed();
      const up = ordered.filter(({ state }) => isUp(state));
      await takeAll(candidate, [...up.map(toDeed('stop')), ...ordered.map(toDeed('remove'))], log);
    }
    return startAgain(candidate, stack, seen, log);
  }

  return {
    /** Resolves when Portainer's calls have returned. Throws HttpError that says what state was left. */
    async carryOut(
      candidate: Candidate,
      plan: Exclude<Plan, { kind: 'none' | 'refuse' }>,
      seen: Observation,
      scope: { log: Logger; stillHeld: StillHeld },
    ): Promise<Outcome> {
      const { log } = scope;
      if (plan.kind === 'start-stack') return start(candidate, seen.stack as PortainerStack, log);
      if (plan.kind !== 'repair') return makeAnew(candidate, plan.kind, seen, scope);
      const { fallback } = plan;
      try {
        await takeAll(candidate, plan.steps, log, (error) => fallback !== 'none' && needsNewContainer(error));
        return 'done';
      } catch (error) {
        if (fallback === 'none' || !needsNewContainer(error)) throw error;
        log.warn('only new containers can help: the stack is made anew', { service: candidate.name, error });
        const now = await observe(candidate, log);
        // Somebody else may have done it meanwhile.
        return now.verdict === 'healthy' ? 'again' : makeAnew(candidate, fallback, now, scope);
      }
    },

    /** Stops by Portainer's call; what that does not reach container by container, dependants first. */
    async stop(candidate: Candidate, seen: Observation, log: Logger): Promise<void> {
      const { stack } = seen;
      if (stack !== undefined && (await stopStack(candidate, stack, log)) === 'done') {
        await watch(candidate, log, (left) =>
          left.containers.length === 0 && left.stack?.status !== 'deploying' ? true : undefined,
        );
        return;
      }
      const left = stack === undefined ? seen : await observe(candidate, log);
      if (left.stack !== undefined && left.stack.status !== 'inactive') {
        throw new HttpError(409, `Service ${candidate.name} is being worked on: ask again in a moment`, {
          code: 'busy',
          headers: { 'Retry-After': '5' },
        });
      }
      const up = left.containers.filter(({ state }) => isUp(state));
      await takeAll(candidate, inDependencyOrder(up).toReversed().map(toDeed('stop')), log);
    },

    /** Restarts each container in the order of dependencies; they are kept, and jobs that have completed are left alone. */
    restart(candidate: Candidate, { containers }: Observation, log: Logger): Promise<void> {
      const wanted = inDependencyOrder(containers).filter(({ class: found }) => found !== 'completed');
      return takeAll(candidate, wanted.map(toDeed('restart')), log);
    },
  };
}

export type Actor = ReturnType<typeof createActor>;
