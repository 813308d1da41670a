import { HttpError, UpstreamError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import type { Candidate } from './resolve/match.ts';
import type { Resolver } from './resolve/resolver.ts';
import type { Actor } from './run/act.ts';
import { createBringUp, type Done } from './run/bring-up.ts';
import type { Jobs } from './run/jobs.ts';
import { createLooks } from './run/looks.ts';
import type { Observation, Observe } from './run/observe.ts';
import { orderRequired } from './run/requires.ts';
import { type Sleep, waitFor } from './run/wait.ts';
import type { Watcher } from './run/watch.ts';
import type { Action, Scope, ServiceState, SpotService, WakeOptions, WakeResult } from './service.ts';
import { decide, isAct } from './stack/decide.ts';

export interface SpotOptions {
  resolver: Resolver;
  observe: Observe;
  actor: Actor;
  watcher: Watcher;
  jobs: Jobs<Done>;
  requireLabel: boolean;
  allowStop: boolean;
  now: () => number;
  sleep: Sleep;
}

// Kept back from a deadline for a last look, so that the answer at the deadline tells the containers as they are.
const lastLookMs = 2_000;

/** The service behind every route. */
export function createSpotService(options: SpotOptions): SpotService {
  const { resolver, observe, actor, watcher, jobs, requireLabel, now, sleep } = options;
  const { bringUp, bringUpRequired } = createBringUp({ observe, actor, watcher, jobs });
  const { look, lookNow } = createLooks({ observe, jobs, onGone: resolver.invalidate, now });

  const toState = (candidate: Candidate, { verdict, containers }: Observation): ServiceState => ({
    verdict,
    containers: containers.map(({ name, service, state, health, class: found }) => ({
      name,
      service,
      state,
      health,
      class: found,
    })),
    inProgress: jobs.of(candidate)?.action,
    failure: jobs.failureOf(candidate),
  });

  /** Until the caller's deadline; Portainer's slowness is told as what it is. */
  async function inTime<Value>(work: Promise<Value>, scope: Scope): Promise<Value> {
    const waited = await waitFor(work, scope, { now, sleep });
    if (waited.inTime) return waited.value;
    throw new UpstreamError('Portainer', 'timeout', 'the deadline of the call passed');
  }

  function checkPolicy({ name }: Candidate, { policy }: Observation, mapped: boolean): void {
    if (policy.enabled === false) {
      const message = `Service ${name} is labelled spot-start.enable=false: it is left alone`;
      throw new HttpError(403, message, { code: 'not_enabled' });
    }
    if (!requireLabel || policy.labelled || mapped) return;
    const message = `Service ${name} has no label spot-start.enable=true, which SPOT_START_REQUIRE_LABEL asks for`;
    throw new HttpError(403, message, { code: 'label_required' });
  }

  async function requiredOf(candidate: Candidate, seen: Observation, log: Logger): Promise<Candidate[]> {
    if (seen.policy.requires.length === 0) return [];
    return orderRequired(
      { candidate, requires: seen.policy.requires },
      (name, by) => resolver.required(name, by, log),
      async (other) => {
        const { policy } = await look(other, log);
        if (policy.enabled !== false) return policy.requires;
        const message = `Service ${candidate.name} requires ${other.name}, which is labelled spot-start.enable=false`;
        throw new HttpError(409, message, { code: 'required_not_enabled' });
      },
    );
  }

  /** At a deadline or right after the start: as things are, or as they were seen last. */
  async function unfinished(candidate: Candidate, action: Action, before: Observation | undefined, scope: Scope) {
    const waited = await waitFor(look(candidate, scope.log), scope, { now, sleep }).catch(() => undefined);
    const seen = waited?.inTime ? waited.value : before;
    const state: ServiceState = seen === undefined ? { verdict: 'starting', containers: [] } : toState(candidate, seen);
    return { ...state, action, finished: false };
  }

  /** Waits for the job, and for health where that is wanted; in time for an answer. */
  async function answerFor(
    candidate: Candidate,
    begun: { action: Action; result: Promise<Done>; before: Observation | undefined },
    wait: WakeOptions['wait'],
    scope: Scope,
  ): Promise<WakeResult> {
    if (wait.until === 'fired') return unfinished(candidate, begun.action, begun.before, scope);
    const callEndsAtMs = wait.until === 'healthy' ? Math.min(scope.endsAtMs, now() + wait.forMs) : scope.endsAtMs;
    const endsAtMs = callEndsAtMs - Math.min(lastLookMs, (callEndsAtMs - now()) / 4);
    const waited = await waitFor(begun.result, { ...scope, endsAtMs }, { now, sleep });
    if (!waited.inTime) return unfinished(candidate, begun.action, begun.before, scope);
    const { action, seen } = waited.value;
    if (wait.until === 'returned' || seen.verdict === 'healthy') {
      return { ...toState(candidate, seen), action, finished: true };
    }
    const watched = await waitFor(
      watcher.untilHealthy(candidate, endsAtMs - now(), scope.log),
      { ...scope, endsAtMs },
      { now, sleep },
    );
    if (!watched.inTime) return unfinished(candidate, action, seen, scope);
    const { verdict } = watched.value;
    const state = toState(candidate, watched.value);
    if (verdict === 'healthy') return { ...state, action, finished: true };
    if (verdict === 'starting' || verdict === 'deploying') return { ...state, action, finished: false };
    const bad = state.containers.filter(({ class: found }) => !['ok', 'completed', 'starting'].includes(found));
    const told = bad.map(({ name, class: found }) => `${name} is ${found}`).join(', ');
    throw new HttpError(502, `Service ${candidate.name} did not become healthy${told === '' ? '' : `: ${told}`}`, {
      code: 'not_healthy',
      more: { containers: state.containers.map(({ class: status, ...item }) => ({ ...item, status })) },
    });
  }

  return {
    resolve: (wanted, scope) => inTime(resolver.resolve(wanted, scope), scope),

    async status(candidate, scope) {
      return toState(candidate, await inTime(look(candidate, scope.log), scope));
    },

    async wake(candidate, wakeOptions, scope) {
      const { wait, dryRun = false } = wakeOptions;
      const { log } = scope;
      const running = jobs.of(candidate);
      if (running !== undefined && !dryRun) return answerFor(candidate, { ...running, before: undefined }, wait, scope);
      const { seen: looking, ended } = lookNow(candidate, log);
      const seen = await inTime(looking, scope);
      checkPolicy(candidate, seen, resolver.isMapped(candidate));
      // Begun by somebody else while we looked: its callers all hear the same.
      const joined = dryRun ? undefined : jobs.of(candidate);
      if (joined !== undefined) return answerFor(candidate, { ...joined, before: seen }, wait, scope);
      const plan = decide(seen);
      if (plan.kind === 'refuse') throw new HttpError(plan.status, plan.message, { code: plan.code });
      const idle = !isAct(plan) && plan.status !== 'deploying';
      const action = isAct(plan) ? plan.action : 'none';
      const required = idle ? [] : await inTime(requiredOf(candidate, seen, log), scope);
      if (dryRun) {
        const steps = plan.kind === 'repair' ? plan.steps.map(({ kind, name }) => `${kind} ${name}`) : [plan.kind];
        return {
          ...toState(candidate, seen),
          action,
          finished: true,
          plan: isAct(plan) ? [...required.map(({ name }) => `await ${name}`), ...steps] : [],
        };
      }
      if (idle) {
        const result = Promise.resolve({ action: 'none' as const, seen });
        // Nothing was fired: the truth is known at once.
        const its = wait.until === 'fired' ? ({ until: 'returned' } as const) : wait;
        return answerFor(candidate, { action: 'none', result, before: seen }, its, scope);
      }
      const job = jobs.run(candidate, action === 'none' ? 'start' : action, log, async (stillHeld) => {
        const isFresh = jobs.isAlone && required.length === 0 && jobs.ended() === ended;
        await bringUpRequired(required, candidate, log);
        return bringUp(candidate, { log, stillHeld }, isFresh ? seen : undefined);
      });
      return answerFor(candidate, { action, result: job.result, before: seen }, wait, scope);
    },

    async change(candidate, { what, wait }, scope) {
      const { log } = scope;
      if (!options.allowStop) {
        const message = `Nothing is stopped here: SPOT_START_ALLOW_STOP is not true`;
        throw new HttpError(403, message, { code: 'stop_not_allowed' });
      }
      if (jobs.of(candidate) !== undefined) {
        const message = `Service ${candidate.name} is being worked on: ask again in a moment`;
        throw new HttpError(409, message, { code: 'busy', headers: { 'Retry-After': '5' } });
      }
      const seen = await inTime(lookNow(candidate, log).seen, scope);
      checkPolicy(candidate, seen, resolver.isMapped(candidate));
      if (what === 'stop' && seen.protection !== undefined) {
        throw new HttpError(409, `Service ${candidate.name} is not stopped: ${seen.protection}`, {
          code: 'protected_stack',
        });
      }
      const refused = decide(seen);
      if (refused.kind === 'refuse' && refused.status === 422) {
        throw new HttpError(refused.status, refused.message, { code: refused.code });
      }
      const job = jobs.run(candidate, what, log, async (stillHeld) => {
        if (what === 'stop') await actor.stop(candidate, seen, log);
        else if (seen.containers.some(({ state }) => state === 'running')) await actor.restart(candidate, seen, log);
        else return bringUp(candidate, { log, stillHeld });
        return { action: what, seen: await observe(candidate, log) };
      });
      return answerFor(candidate, { action: what, result: job.result, before: seen }, wait, scope);
    },

    list: (scope) => inTime(resolver.list(scope.log), scope),
  };
}
