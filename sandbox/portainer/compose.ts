import { parse } from 'yaml';
import {
  type Container,
  containersOf,
  type Healthcheck,
  projectOf,
  type Stack,
  type Times,
  type World,
} from './world.ts';

export interface Service {
  name: string;
  image: string;
  labels: Record<string, string>;
  env: string[];
  restart: string;
  healthcheck: Healthcheck | undefined;
  ports: Record<string, string>;
  /** How many containers; 0 is nothing that is missing. */
  replicas: number;
  /** Of a Swarm's services: `deploy.labels`. */
  deployLabels: Record<string, string>;
  job: boolean;
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
  healthcheck?: { test?: unknown; interval?: string; retries?: number; start_period?: string; disable?: boolean };
  ports?: (string | number)[];
  scale?: number;
  deploy?: { replicas?: number; mode?: string; labels?: Record<string, unknown> | string[] };
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

function toMs(text: string | undefined, fallbackMs: number): number {
  const unit = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
  const parts = [...(text ?? '').matchAll(/([\d.]+)(ms|s|m|h)/g)];
  if (parts.length === 0) return fallbackMs;
  return parts.reduce((sum, [, count, name]) => sum + Number(count) * unit[name as 's'], 0);
}

function toHealthcheck(check: ComposeService['healthcheck']): Healthcheck | undefined {
  if (check === undefined || check.disable === true) return undefined;
  const { interval, retries = 3, start_period: startPeriod } = check;
  return { intervalMs: toMs(interval, 30_000), retries, startPeriodMs: toMs(startPeriod, 0) };
}

function toPorts(ports: (string | number)[]): Record<string, string> {
  return Object.fromEntries(
    ports.flatMap((port) => {
      const [inside = '', outside] = String(port).split(':').reverse();
      return outside === undefined ? [] : [[`${inside.replace(/\/.*/, '')}/tcp`, outside]];
    }),
  );
}

/** The services of a stack file in the order in which compose starts them. */
export function readServices(stack: Stack): Service[] {
  const file = parse(interpolate(stack.file, stack.env), { merge: true }) as {
    services?: Record<string, ComposeService>;
  };
  const services = Object.entries(file.services ?? {}).flatMap(([name, item]): Service[] => {
    if (item.profiles !== undefined && item.profiles.length > 0) return [];
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
        healthcheck: toHealthcheck(item.healthcheck),
        ports: toPorts(item.ports ?? []),
        replicas: item.deploy?.replicas ?? item.scale ?? 1,
        deployLabels: Object.fromEntries(pairs(item.deploy?.labels)),
        job: item.deploy?.mode?.endsWith('-job') ?? false,
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
    ports: service.ports,
    exits: service.exits,
    state: 'created',
    exitCode: 0,
    createdAt: world.now(),
    startedAt: 0,
    finishedAt: 0,
    restartCount: 0,
  };
}

/** Thrown where Portainer was restarted: the process that held the start or stop is gone, and nobody hears of its end. */
export class Restarted extends Error {}

async function pause(world: World, times: Times, ms: number): Promise<void> {
  const { epoch } = world;
  await times.sleep(ms);
  if (world.epoch !== epoch) throw new Restarted();
}

export function runContainer(world: World, container: Container): void {
  container.state = 'running';
  container.startedAt = world.now();
  container.restartCount = 0;
  if (container.sick === 'once') delete container.sick;
  if (container.exits) Object.assign(container, { state: 'exited', exitCode: 0, finishedAt: world.now() });
}

/**
 * `docker compose up -d`: creates the containers that are not there, then starts them one by one, waiting where
 * depends_on has a condition. What runs is left alone. Throws what compose would print.
 */
export async function composeUp(world: World, stack: Stack, endpointId: number, times: Times): Promise<void> {
  if (stack.pullMs !== undefined) await pause(world, times, stack.pullMs);
  const services = readServices(stack).filter(({ replicas }) => replicas > 0);
  const present = new Map(containersOf(world, endpointId, projectOf(stack)).map((item) => [item.service, item]));
  for (const service of services) {
    if (present.has(service.name)) continue;
    const created = toContainer(world, stack, endpointId, service);
    present.set(service.name, created);
    world.containers.push(created);
  }
  await pause(world, times, times.startMs);
  if (stack.startError !== undefined) throw new Error(stack.startError);
  for (const service of services) {
    const waits = Object.values(service.dependsOn).includes('service_healthy');
    if (waits) await pause(world, times, world.healthyAfterMs);
    const container = present.get(service.name) as Container;
    if (container.state === 'running') continue;
    if (container.startError !== undefined) throw new Error(container.startError);
    runContainer(world, container);
  }
}

/** `docker compose down --remove-orphans`: containers and their labels are gone. */
export async function composeDown(world: World, stack: Stack, endpointId: number, times: Times): Promise<void> {
  await pause(world, times, times.startMs);
  if (stack.stopError !== undefined) throw new Error(stack.stopError);
  const gone = new Set(containersOf(world, endpointId, projectOf(stack)));
  world.containers = world.containers.filter((container) => !gone.has(container));
}
