import { parse } from 'yaml';
import { type Container, containersOf, projectOf, type Stack, type World } from './world.ts';

export interface Service {
  name: string;
  image: string;
  labels: Record<string, string>;
  env: string[];
  restart: string;
  healthcheck: boolean;
  /** Name to condition: service_started, service_healthy, service_completed_successfully. */
  dependsOn: Record<string, string>;
  /** A job of the stack: another service waits for it to complete. */
  exits: boolean;
}

interface ComposeService {
  image?: string;
  labels?: Record<string, unknown> | string[];
  environment?: Record<string, unknown> | string[];
  restart?: string;
  healthcheck?: unknown;
  depends_on?: string[] | Record<string, { condition?: string }>;
  profiles?: string[];
}

function interpolate(text: string, env: Stack['env']): string {
  return text.replace(/\$(?:\$|\{(\w+)(?::?-([^}]*))?\}|(\w+))/g, (whole, braced, fallback, plain) => {
    if (whole === '$$') return '$';
    return env.find(({ name }) => name === (braced ?? plain))?.value ?? fallback ?? '';
  });
}

function pairs(value: Record<string, unknown> | string[] | undefined): [string, string][] {
  if (!Array.isArray(value)) return Object.entries(value ?? {}).map(([name, item]) => [name, String(item ?? '')]);
  return value.map((line) => {
    const [name = '', ...rest] = line.split('=');
    return [name, rest.join('=')];
  });
}

/** The services of a stack file in the order in which compose starts them. */
export function readServices(stack: Stack): Service[] {
  const file = parse(interpolate(stack.file, stack.env), { merge: true }) as {
    services?: Record<string, ComposeService>;
  };
  const services = Object.entries(file.services ?? {}).flatMap(([name, item]): Service[] => {
    if (item.profiles !== undefined) return [];
    const wanted = item.depends_on ?? {};
    const dependsOn = Array.isArray(wanted)
      ? wanted.map((other) => [other, 'service_started'])
      : Object.entries(wanted).map(([other, { condition = 'service_started' }]) => [other, condition]);
    return [
      {
        name,
        image: item.image ?? name,
        labels: Object.fromEntries(pairs(item.labels)),
        env: pairs(item.environment).map(([key, value]) => `${key}=${value}`),
        restart: item.restart ?? 'no',
        healthcheck: item.healthcheck !== undefined,
        dependsOn: Object.fromEntries(dependsOn),
        exits: false,
      },
    ];
  });
  for (const service of services) {
    service.exits = services.some((other) => other.dependsOn[service.name] === 'service_completed_successfully');
  }
  const ordered: Service[] = [];
  const visit = (service: Service) => {
    if (ordered.includes(service)) return;
    for (const other of services) if (other.name in service.dependsOn) visit(other);
    ordered.push(service);
  };
  services.forEach(visit);
  return ordered;
}

/** A container as `compose create` leaves it. */
export function toContainer(world: World, stack: Stack, endpointId: number, service: Service): Container {
  const project = projectOf(stack);
  const dependsOn = Object.entries(service.dependsOn).map(([name, condition]) => `${name}:${condition}:false`);
  return {
    id: world.nextId(),
    endpointId,
    name: `${project}-${service.name}-1`,
    image: service.image,
    project,
    service: service.name,
    labels: {
      'com.docker.compose.project': project,
      'com.docker.compose.service': service.name,
      'com.docker.compose.container-number': '1',
      'com.docker.compose.oneoff': 'False',
      'com.docker.compose.depends_on': dependsOn.join(','),
      'com.docker.compose.project.working_dir': `/data/compose/${stack.id}`,
      'com.docker.compose.project.config_files': `/data/compose/${stack.id}/docker-compose.yml`,
      ...service.labels,
    },
    env: service.env,
    restartPolicy: service.restart,
    healthcheck: service.healthcheck,
    state: 'created',
    exitCode: 0,
    createdAt: world.now(),
    startedAt: 0,
    finishedAt: 0,
    restartCount: 0,
  };
}

/**
 * `docker compose up -d`: creates every container, then starts them one by one, waiting where depends_on has a
 * condition. Throws what compose would print.
 */
export async function composeUp(
  world: World,
  stack: Stack,
  endpointId: number,
  times: { startMs: number; sleep: (ms: number) => Promise<void> },
): Promise<void> {
  const services = readServices(stack);
  const created = services.map((service) => toContainer(world, stack, endpointId, service));
  world.containers.push(...created);
  await times.sleep(times.startMs);
  if (stack.startError !== undefined) throw new Error(stack.startError);
  for (const [index, service] of services.entries()) {
    const waits = Object.values(service.dependsOn).includes('service_healthy');
    if (waits) await times.sleep(world.healthyAfterMs);
    const container = created[index] as Container;
    container.state = 'running';
    container.startedAt = world.now();
    if (service.exits) Object.assign(container, { state: 'exited', finishedAt: world.now() });
  }
}

/** `docker compose down --remove-orphans`: containers and their labels are gone. */
export async function composeDown(
  world: World,
  stack: Stack,
  endpointId: number,
  times: { startMs: number; sleep: (ms: number) => Promise<void> },
): Promise<void> {
  await times.sleep(times.startMs);
  const gone = new Set(containersOf(world, endpointId, projectOf(stack)));
  world.containers = world.containers.filter((container) => !gone.has(container));
}
