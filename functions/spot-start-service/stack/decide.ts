import type { PortainerStack, SwarmService } from '#shared/clients/portainer.ts';
import { type ClassifiedContainer, inDependencyOrder } from './containers.ts';

/** What the containers of a service do, as one word. */
export type Verdict = 'healthy' | 'starting' | 'deploying' | 'stopped' | 'removed' | 'partial' | 'unhealthy';

export interface Step {
  kind: 'start' | 'restart' | 'unpause';
  containerId: string;
  /** Of the container, for people. */
  name: string;
}

export type Plan =
  /** Nothing to do, or nothing yet: Portainer or Docker is at it. */
  | { kind: 'none'; status: 'healthy' | 'starting' | 'deploying' }
  /** Portainer's own start of a stack without containers. */
  | { kind: 'start-stack'; action: 'start' }
  /** The gentle way, which keeps the containers; `fallback` where nothing but new containers can help. */
  | { kind: 'repair'; action: 'start' | 'restart'; steps: Step[]; fallback: 'recreate' | 'replace' | 'none' }
  /** Stop, then start: deletes the containers and what lies in them. */
  | { kind: 'recreate'; action: 'start' | 'restart' }
  /** The same where Portainer thinks the stack is stopped, and so refuses a stop: remove the leftovers, then start. */
  | { kind: 'replace'; action: 'start' | 'restart' }
  | { kind: 'refuse'; status: number; code: string; message: string };

export const isAct = (plan: Plan): plan is Exclude<Plan, { kind: 'none' | 'refuse' }> =>
  plan.kind !== 'none' && plan.kind !== 'refuse';

export interface Situation {
  name: string;
  /** Undefined: containers of a project that Portainer did not deploy. */
  stack: Pick<PortainerStack, 'status' | 'type'> | undefined;
  endpointKind: 'docker' | 'edge-async' | 'kubernetes' | 'other';
  containers: ClassifiedContainer[];
  /** Services of the stack file without a container. */
  missing: string[];
  /** Of a Swarm stack. */
  services?: SwarmService[];
  /** Why it must not be stopped and started. */
  protection: string | undefined;
  nowMs: number;
}

const stepOf = {
  stopped: 'start',
  created: 'start',
  unhealthy: 'restart',
  'crash-looping': 'restart',
  paused: 'unpause',
} as const;

// Swarm places tasks by itself after a start, and pulls their images.
const swarmSettlesMs = 300_000;

const refuse = (status: number, code: string, message: string): Plan => ({ kind: 'refuse', status, code, message });

/** What cannot be started at all; undefined when it can. */
function refuseKind({ name, stack, endpointKind }: Situation): Plan | undefined {
  if (stack?.type === 'kubernetes' || endpointKind === 'kubernetes') {
    return refuse(422, 'unsupported_stack', `Service ${name} is a Kubernetes stack, which Portainer cannot start`);
  }
  if (endpointKind === 'docker') return undefined;
  const what = endpointKind === 'edge-async' ? 'an asynchronous edge agent' : 'no Docker';
  const message = `Service ${name} is on an environment with ${what}, which cannot be reached to start anything`;
  return refuse(422, 'unsupported_environment', message);
}

function protect({ name, protection }: Situation): Plan {
  const message = `Service ${name} can only be helped by a stop and a start, and ${protection}: start it by hand`;
  return refuse(409, 'protected_stack', message);
}

const isShort = ({ running, desired, isJob }: SwarmService) => !isJob && running < desired;

const isSettling = ({ updatedAtMs }: SwarmService, nowMs: number) => nowMs - updatedAtMs < swarmSettlesMs;

/** Swarm keeps the services of an active stack running by itself: state and start go by the stack. */
function decideSwarm(situation: Situation, stack: NonNullable<Situation['stack']>): Plan {
  const { name, services = [], nowMs } = situation;
  if (stack.status === 'deploying') return { kind: 'none', status: 'deploying' };
  if (services.length === 0) {
    if (stack.status === 'inactive') return { kind: 'start-stack', action: 'start' };
    return situation.protection === undefined ? { kind: 'recreate', action: 'start' } : protect(situation);
  }
  const short = services.filter(isShort);
  if (short.length === 0) return { kind: 'none', status: 'healthy' };
  if (short.every(({ updatedAtMs }) => nowMs - updatedAtMs < swarmSettlesMs))
    return { kind: 'none', status: 'starting' };
  const told = short.map((item) => `${item.name} runs ${item.running} of ${item.desired}`).join(', ');
  const message = `Service ${name} is a Swarm stack (${told}): Swarm itself repairs its services, and does not manage to`;
  return refuse(422, 'unsupported_stack', message);
}

/** What to do about a service: Portainer's view of the stack against what its containers do. */
export function decide(situation: Situation): Plan {
  const { stack, containers, missing, protection } = situation;
  const refused = refuseKind(situation);
  if (refused !== undefined) return refused;
  if (stack?.type === 'swarm') return decideSwarm(situation, stack);
  if (stack?.status === 'deploying') return { kind: 'none', status: 'deploying' };

  const has = (...classes: string[]) => containers.some((item) => classes.includes(item.class));
  const present = containers.length > 0;
  const whole = present && missing.length === 0;
  if (whole && !has('stopped', 'created', 'unhealthy', 'crash-looping', 'paused', 'broken')) {
    return { kind: 'none', status: has('starting') ? 'starting' : 'healthy' };
  }
  const action = has('ok', 'starting', 'unhealthy', 'crash-looping', 'paused') ? 'restart' : 'start';
  if (stack !== undefined && !present && stack.status === 'inactive') return { kind: 'start-stack', action: 'start' };
  const rebuild = stack?.status === 'inactive' ? 'replace' : 'recreate';
  const steps = inDependencyOrder(containers).flatMap((item): Step[] => {
    const kind = stepOf[item.class as 'stopped'];
    return kind === undefined ? [] : [{ kind, containerId: item.id, name: item.name }];
  });
  // Of a stack that must not be stopped, what can be mended is mended, and what is gone stays gone.
  if ((whole && !has('broken')) || (protection !== undefined && steps.length > 0)) {
    const fallback = stack === undefined || protection !== undefined ? 'none' : rebuild;
    return { kind: 'repair', action, steps, fallback };
  }
  if (stack === undefined) {
    const message = `Service ${situation.name} runs outside Portainer's stacks, and a container of it is gone or dead: only who deployed it can make a new one`;
    return refuse(409, 'external_stack', message);
  }
  // A start in flight has made some containers and not yet the others.
  if (has('starting') && !has('broken', 'unhealthy', 'crash-looping')) return { kind: 'none', status: 'starting' };
  return protection === undefined ? { kind: rebuild, action } : protect(situation);
}

/** The state as one word, for people and pages. */
export function toVerdict({ stack, containers, missing, services, nowMs }: Situation): Verdict {
  if (stack?.status === 'deploying') return 'deploying';
  if (stack?.type === 'swarm') {
    const short = (services ?? []).filter(isShort);
    if (services === undefined || services.length === 0) return 'removed';
    return short.length === 0 ? 'healthy' : short.every((item) => isSettling(item, nowMs)) ? 'starting' : 'partial';
  }
  const has = (...classes: string[]) => containers.some((item) => classes.includes(item.class));
  if (containers.length === 0) return 'removed';
  if (has('unhealthy', 'crash-looping', 'broken', 'paused')) return 'unhealthy';
  const up = has('ok', 'starting');
  if (has('stopped', 'created')) return up ? 'partial' : 'stopped';
  if (has('starting')) return 'starting';
  return missing.length > 0 ? 'partial' : 'healthy';
}
