import type { ContainerInspection, PortainerContainer } from '#shared/clients/portainer.ts';

export type ContainerClass =
  | 'ok'
  | 'starting'
  | 'unhealthy'
  | 'crash-looping'
  | 'completed'
  | 'stopped'
  | 'created'
  | 'paused'
  | 'broken';

export interface ObservedContainer extends PortainerContainer {
  service: string;
  /** Other services, with the condition under which this one starts. */
  dependsOn: Record<string, string>;
  /** Known of containers about which the list alone does not decide. */
  inspection?: ContainerInspection | undefined;
}

export interface ClassifiedContainer extends ObservedContainer {
  class: ContainerClass;
}

export interface Moment {
  nowMs: number;
  /** When a start by us failed: what was created before it is a leftover, and no start in flight. */
  failedAtMs?: number | undefined;
}

// A start of ours or of somebody else creates all containers before it runs the first.
const startInFlightMs = 120_000;
const crashLoopAfterMs = 300_000;
const crashLoopAfterRestarts = 5;

/** The containers of a compose project; `compose run` ones and those labelled `spot-start.ignore` are left out. */
export function toObserved(containers: PortainerContainer[], project: string): ObservedContainer[] {
  return containers
    .filter(
      ({ labels }) =>
        labels['com.docker.compose.project'] === project &&
        labels['com.docker.compose.oneoff']?.toLowerCase() !== 'true' &&
        labels['spot-start.ignore']?.toLowerCase() !== 'true',
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

/** Whether the list leaves open what a container is: an exit with 0, an `unhealthy`, restarts, a start just now. */
export function needsInspection({ state, health, exitCode, isYoung }: ObservedContainer): boolean {
  if (state === 'exited') return exitCode === 0;
  return state === 'restarting' || (state === 'running' && (health === 'unhealthy' || (isYoung && health === 'none')));
}

const isRouted = (labels: Record<string, string>) =>
  Object.keys(labels).some((name) => /^(traefik\.|spot-start\.host$|home\.resolve\.domain$|caddy)/.test(name));

/** Told by its label, or by another service that waits for it to complete. Undefined: nobody tells. */
function isToldJob({ service, labels }: ObservedContainer, all: ObservedContainer[]): boolean | undefined {
  const told = labels['spot-start.oneshot']?.toLowerCase();
  if (told === 'true' || told === 'false') return told === 'true';
  return all.some(({ dependsOn }) => dependsOn[service] === 'service_completed_successfully') ? true : undefined;
}

/**
 * Exit 0 without a restart policy is a finished job (migration, init) or a server that was stopped gracefully: Docker
 * says the same of both. A healthcheck, a port or a route means a server.
 */
function looksLikeJob({ inspection, labels }: ObservedContainer): boolean {
  if (inspection === undefined || !['', 'no', 'on-failure'].includes(inspection.restartPolicy)) return false;
  return !inspection.hasHealthcheck && inspection.hostPorts.length === 0 && !isRouted(labels);
}

/** Compose holds it back until what it depends on is healthy, however long that takes. */
function waitsForHealth({ dependsOn }: ObservedContainer, all: ObservedContainer[]): boolean {
  return all.some(
    (other) =>
      dependsOn[other.service] === 'service_healthy' && other.state === 'running' && other.health === 'starting',
  );
}

function classifyOne(container: ObservedContainer, all: ObservedContainer[], moment: Moment): ContainerClass {
  const { state, health, exitCode, createdAtMs, inspection } = container;
  const { nowMs, failedAtMs } = moment;
  const loops = (inspection?.restartCount ?? 0) >= crashLoopAfterRestarts;
  switch (state) {
    case 'running': {
      if (health === 'starting') return 'starting';
      if (health === 'healthy') return 'ok';
      if (health === 'none') return container.isYoung && loops ? 'crash-looping' : 'ok';
      // Boots are often unhealthy for a moment: a restart then would only begin them again.
      const { startedAtMs = 0, healthGraceMs = 0 } = inspection ?? {};
      return nowMs - startedAtMs < healthGraceMs ? 'starting' : 'unhealthy';
    }
    case 'restarting': {
      const since = (exitCode ?? 0) !== 0 && nowMs - createdAtMs > crashLoopAfterMs && inspection === undefined;
      return loops || since ? 'crash-looping' : 'starting';
    }
    case 'paused':
      return 'paused';
    case 'created': {
      const isLeftover = failedAtMs !== undefined && createdAtMs <= failedAtMs;
      return !isLeftover && (nowMs - createdAtMs < startInFlightMs || waitsForHealth(container, all))
        ? 'starting'
        : 'created';
    }
    case 'exited':
      return exitCode === 0 && (isToldJob(container, all) ?? looksLikeJob(container)) ? 'completed' : 'stopped';
    default:
      return 'broken';
  }
}

/** What only looks like a job counts as fine beside something that runs: a stack of which all has exited is stopped. */
export function classifyContainers(all: ObservedContainer[], moment: Moment): ClassifiedContainer[] {
  const classified = all.map((container) => ({ ...container, class: classifyOne(container, all, moment) }));
  if (!classified.every(({ class: found }) => ['completed', 'stopped', 'created'].includes(found))) return classified;
  const isGuess = (item: ClassifiedContainer) => item.class === 'completed' && isToldJob(item, all) !== true;
  return classified.map((item) => (isGuess(item) ? { ...item, class: 'stopped' } : item));
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
    for (const other of items) if (Object.hasOwn(item.dependsOn, other.service)) visit(other);
    ordered.push(item);
  };
  items.forEach(visit);
  return ordered;
}
