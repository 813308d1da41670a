import type { PortainerStack } from '#shared/clients/portainer.ts';
import { type ClassifiedContainer, inDependencyOrder } from './containers.ts';

export type Action = 'none' | 'start' | 'restart';

export interface Step {
  kind: 'start' | 'restart' | 'unpause';
  containerId: string;
}

export type Plan =
  | { kind: 'none'; status: 'healthy' | 'starting' }
  /** Portainer's own start of a stack without containers. */
  | { kind: 'start-stack'; action: 'start' }
  /** The gentle way, which keeps the containers; `fallback` when Docker refuses. */
  | { kind: 'repair'; action: 'start' | 'restart'; steps: Step[]; fallback: 'recreate' | 'replace' | 'none' }
  /** Stop, then start: deletes the containers and what lies in them. */
  | { kind: 'recreate'; action: 'start' | 'restart' }
  /** The same where Portainer thinks the stack is stopped, and so refuses a stop: remove the leftovers, then start. */
  | { kind: 'replace'; action: 'start' | 'restart' }
  | { kind: 'refuse'; status: number; code: string; message: string };

export interface Situation {
  name: string;
  /** Undefined: containers of a project that Portainer did not deploy. */
  stack: Pick<PortainerStack, 'status' | 'type'> | undefined;
  containers: ClassifiedContainer[];
  /** Services of the stack file without a container. */
  missing: string[];
}

const stepOf = {
  stopped: 'start',
  created: 'start',
  completed: 'start',
  unhealthy: 'restart',
  paused: 'unpause',
} as const;

/** What to do about a service: Portainer's view of the stack against what its containers do. */
export function decide({ name, stack, containers, missing }: Situation): Plan {
  const refuse = (status: number, code: string, message: string): Plan => ({ kind: 'refuse', status, code, message });
  const has = (...classes: string[]) => containers.some((item) => classes.includes(item.class));
  if (stack?.type === 'kubernetes') {
    return refuse(409, 'unsupported_stack', `Service ${name} is a Kubernetes stack, which Portainer cannot start`);
  }
  if (stack?.type === 'swarm' && stack.status !== 'inactive') {
    const message = `Service ${name} is an active Swarm stack: Swarm itself keeps its services running`;
    return refuse(409, 'unsupported_stack', message);
  }
  if (stack?.status === 'deploying') return { kind: 'none', status: 'starting' };

  const present = containers.length > 0;
  const whole = present && missing.length === 0;
  if (whole && !has('stopped', 'created', 'unhealthy', 'paused', 'broken')) {
    return { kind: 'none', status: has('starting') ? 'starting' : 'healthy' };
  }
  if (stack === undefined) {
    const message = `Service ${name} runs outside Portainer's stacks, so Portainer cannot start it`;
    return refuse(409, 'external_stack', message);
  }
  const action = has('ok', 'starting', 'unhealthy', 'paused') ? 'restart' : 'start';
  if (!present && stack.status === 'inactive') return { kind: 'start-stack', action: 'start' };
  const rebuild = stack.status === 'inactive' ? 'replace' : 'recreate';
  const isProtected = containers.some(({ isPortainer }) => isPortainer);
  if (whole && !has('broken')) {
    const steps = inDependencyOrder(containers).flatMap((item): Step[] => {
      const kind = stepOf[item.class as 'stopped'];
      return kind === undefined || item.class === 'completed' ? [] : [{ kind, containerId: item.id }];
    });
    return { kind: 'repair', action, steps, fallback: isProtected ? 'none' : rebuild };
  }
  if (isProtected) {
    const message = `Service ${name} contains Portainer itself, which cannot stop and start itself`;
    return refuse(409, 'protected_stack', message);
  }
  // A start in flight has made some containers and not yet the others.
  if (has('starting') && !has('broken', 'unhealthy')) return { kind: 'none', status: 'starting' };
  return { kind: rebuild, action };
}
