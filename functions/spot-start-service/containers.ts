import type { ContainerInspection, PortainerContainer } from '#shared/clients/portainer.ts';

export type ContainerClass =
  | 'ok'
  | 'starting'
  | 'unhealthy'
  | 'completed'
  | 'stopped'
  | 'created'
  | 'paused'
  | 'broken';

export interface ObservedContainer extends PortainerContainer {
  service: string;
  /** Other services, with the condition under which this one starts. */
  dependsOn: Record<string, string>;
  /** Known of containers that exited with 0: only there it decides. */
  inspection?: ContainerInspection | undefined;
}

export interface ClassifiedContainer extends ObservedContainer {
  class: ContainerClass;
}

// A start of ours or of somebody else creates all containers before it runs the first.
const startInFlightMs = 120_000;
const crashLoopAfterMs = 300_000;

/** The containers of a compose project, `compose run` ones left out. */
export function toObserved(containers: PortainerContainer[], project: string): ObservedContainer[] {
  return containers
    .filter(
      ({ labels }) =>
        labels['com.docker.compose.project'] === project &&
        labels['com.docker.compose.oneoff']?.toLowerCase() !== 'true',
    )
    .map((container) => ({
      ...container,
      service: container.labels['com.docker.compose.service'] ?? container.name,
      dependsOn: Object.fromEntries(
        (container.labels['com.docker.compose.depends_on'] ?? '')
          .split(',')
          .filter((item) => item !== '')
          .map((item) => {
            const [service = '', condition = 'service_started'] = item.split(':');
            return [service, condition];
          }),
      ),
    }));
}

const isRouted = (labels: Record<string, string>) =>
  Object.keys(labels).some((name) => /^(traefik\.|spot-start\.host$|home\.resolve\.domain$|caddy)/.test(name));

/**
 * Exit 0 without a restart policy is a finished job (migration, init) or a server that was stopped gracefully: Docker
 * says the same of both. A service that another waits for to complete is a job; a healthcheck, a port or a route means a server.
 */
function isJob(container: ObservedContainer, all: ObservedContainer[]): boolean {
  const { inspection, service, labels } = container;
  if (all.some(({ dependsOn }) => dependsOn[service] === 'service_completed_successfully')) return true;
  if (inspection === undefined || !['', 'no', 'on-failure'].includes(inspection.restartPolicy)) return false;
  return !inspection.hasHealthcheck && !inspection.publishesPorts && !isRouted(labels);
}

function classifyOne(container: ObservedContainer, all: ObservedContainer[], nowMs: number): ContainerClass {
  const { state, health, exitCode, createdAtMs } = container;
  switch (state) {
    case 'running':
      return health === 'starting' || health === 'unhealthy' ? health : 'ok';
    case 'restarting':
      return (exitCode ?? 0) !== 0 && nowMs - createdAtMs > crashLoopAfterMs ? 'unhealthy' : 'starting';
    case 'paused':
      return 'paused';
    case 'created':
      return nowMs - createdAtMs < startInFlightMs ? 'starting' : 'created';
    case 'exited':
      return exitCode === 0 && isJob(container, all) ? 'completed' : 'stopped';
    default:
      return 'broken';
  }
}

/** Completed jobs count as fine only beside something that runs: a stack of which all has exited is stopped. */
export function classifyContainers(all: ObservedContainer[], nowMs: number): ClassifiedContainer[] {
  const classified = all.map((container) => ({ ...container, class: classifyOne(container, all, nowMs) }));
  if (!classified.every(({ class: found }) => ['completed', 'stopped', 'created'].includes(found))) return classified;
  return classified.map((item) => (item.class === 'completed' ? { ...item, class: 'stopped' } : item));
}

/** What others depend on comes first; a circle is left as it came. */
export function inDependencyOrder<Item extends { service: string; dependsOn: Record<string, string> }>(
  items: Item[],
): Item[] {
  const ordered: Item[] = [];
  const visiting = new Set<Item>();
  const visit = (item: Item) => {
    if (visiting.has(item)) return;
    visiting.add(item);
    for (const other of items) if (other.service in item.dependsOn) visit(other);
    ordered.push(item);
  };
  items.forEach(visit);
  return ordered;
}
