import { HttpError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import type { Candidate } from '../resolve/match.ts';
import type { Action } from '../service.ts';
import { decide, isAct } from '../stack/decide.ts';
import type { Actor } from './act.ts';
import type { StillHeld } from './hold.ts';
import type { Jobs } from './jobs.ts';
import type { Observation, Observe } from './observe.ts';
import type { Watcher } from './watch.ts';

/** What a job ends with. */
export interface Done {
  action: Action;
  seen: Observation;
}

const maxRounds = 3;
const requiredLimitMs = 600_000;
// After a start that nobody could look at.
const unknown: Pick<Observation, 'verdict' | 'containers'> = { verdict: 'removed', containers: [] };

export interface BringUpOptions {
  observe: Observe;
  actor: Actor;
  watcher: Watcher;
  jobs: Jobs<Done>;
}

/** The work of a job: a service, and before it those that it requires. */
export function createBringUp({ observe, actor, watcher, jobs }: BringUpOptions) {
  /** One service: look, decide, act, until there is nothing left to do. */
  async function bringUp(
    candidate: Candidate,
    scope: { log: Logger; stillHeld: StillHeld },
    first?: Observation,
  ): Promise<Done> {
    const { log, stillHeld } = scope;
    let action: Action = 'none';
    for (let round = 1; ; round++) {
      const seen = round === 1 && first !== undefined ? first : await observe(candidate, log);
      const plan = decide(seen);
      if (plan.kind === 'refuse') throw new HttpError(plan.status, plan.message, { code: plan.code });
      if (!isAct(plan) && plan.status === 'deploying') {
        await watcher.settle(candidate, log);
        continue;
      }
      if (!isAct(plan)) return { action, seen };
      if (round > maxRounds) {
        const message = `Service ${candidate.name} was helped ${maxRounds} times, and needs it again`;
        throw new HttpError(502, message, { code: 'still_broken' });
      }
      if (!(await stillHeld())) continue;
      if (action === 'none') action = plan.action;
      log.info('bringing a service up', {
        service: candidate.name,
        endpoint: candidate.endpoint.name,
        stack_id: candidate.stackId,
        plan: plan.kind,
      });
      if ((await actor.carryOut(candidate, plan, seen, scope)) === 'done') {
        // The deed is done: a look that fails now must not turn it into an error.
        return {
          action,
          seen: await observe(candidate, log).catch(() => ({ ...seen, ...unknown })),
        };
      }
    }
  }

  async function bringUpRequired(required: Candidate[], by: Candidate, log: Logger): Promise<void> {
    for (const candidate of required) {
      const job = jobs.run(candidate, 'start', log, (stillHeld) => bringUp(candidate, { log, stillHeld }));
      await job.result;
      const { verdict } = await watcher.untilHealthy(candidate, requiredLimitMs, log);
      if (verdict === 'healthy') continue;
      const message = `Service ${by.name} requires ${candidate.name}, which is ${verdict} and did not become healthy`;
      throw new HttpError(502, message, { code: 'required_not_healthy' });
    }
  }

  return { bringUp, bringUpRequired };
}
