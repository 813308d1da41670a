import { createRandom } from '../server.ts';
import { readServices, type Service, toContainer } from './compose.ts';
import { seedFiles } from './seed.ts';

export interface Endpoint {
  id: number;
  name: string;
  url: string;
  /** The agent does not answer: docker calls get an empty 502. */
  down: boolean;
}

export interface Stack {
  id: number;
  name: string;
  /** 1 swarm, 2 compose, 3 kubernetes. */
  type: 1 | 2 | 3;
  endpointId: number;
  /** 1 active, 2 inactive: what Portainer was told, not what the containers do. */
  status: 1 | 2;
  env: { name: string; value: string }[];
  file: string;
  createdAt: number;
  /** Set: `compose up` fails with it, and leaves its containers created. */
  startError?: string;
}

export interface Container {
  id: string;
  endpointId: number;
  name: string;
  image: string;
  project: string;
  service: string;
  labels: Record<string, string>;
  env: string[];
  restartPolicy: string;
  healthcheck: boolean;
  state: 'created' | 'running' | 'paused' | 'restarting' | 'exited' | 'dead';
  exitCode: number;
  createdAt: number;
  startedAt: number;
  finishedAt: number;
  restartCount: number;
  /** once: unhealthy until it is restarted; always: no restart helps. */
  sick?: 'once' | 'always';
  /** Docker refuses to start it, with this message. */
  startError?: string;
}

export interface World {
  endpoints: Endpoint[];
  stacks: Stack[];
  containers: Container[];
  now: () => number;
  /** How long a healthcheck says "starting". */
  healthyAfterMs: number;
  /** Docker's 64 hex digits. */
  nextId: () => string;
}

const hourMs = 3_600_000;

/** The label by which compose, and Portainer's check for name collisions, know a stack's containers. */
export const projectOf = (stack: Pick<Stack, 'name'>) => stack.name.toLowerCase().replace(/[^-_a-z0-9]/g, '');

export const containersOf = (world: World, endpointId: number, project: string) =>
  world.containers.filter((item) => item.endpointId === endpointId && item.project === project);

/** As `docker inspect` sees it; undefined without a healthcheck. */
export function healthOf(world: World, container: Container): 'starting' | 'healthy' | 'unhealthy' | undefined {
  if (!container.healthcheck || !['running', 'paused'].includes(container.state)) return undefined;
  if (container.sick !== undefined) return 'unhealthy';
  return world.now() - container.startedAt < world.healthyAfterMs ? 'starting' : 'healthy';
}

/** Two endpoints: prod-vm-1 (10) with four stacks in different health, prod-vm-2 (20) with one. The same for every seed but ids. */
export function createWorld(options: { seed: number; now: () => number; healthyAfterMs: number }): World {
  const { now, healthyAfterMs } = options;
  const random = createRandom(options.seed);
  const nextId = () => Array.from({ length: 64 }, () => Math.floor(random() * 16).toString(16)).join('');
  const world: World = {
    endpoints: [
      { id: 10, name: 'prod-vm-1', url: 'tcp://10.0.0.5:9001', down: false },
      { id: 20, name: 'prod-vm-2', url: 'tcp://10.0.0.6:9001', down: false },
    ],
    stacks: [],
    containers: [],
    now,
    healthyAfterMs,
    nextId,
  };
  const add = (id: number, name: string, endpointId: number, status: 1 | 2, env: Stack['env'] = []) => {
    const file = seedFiles[name] as string;
    const stack: Stack = { id, name, type: 2, endpointId, status, env, file, createdAt: now() - 720 * hourMs };
    world.stacks.push(stack);
    if (status === 2) return;
    for (const service of readServices(stack)) world.containers.push(settled(world, stack, service));
  };
  add(80, 'nextcloud', 10, 2, [
    { name: 'DOMAIN', value: 'cloud.server.local' },
    { name: 'DB_PASSWORD', value: 'sandbox-db-password' },
  ]);
  add(120, 'mediaservice', 10, 1);
  add(150, 'n8n', 10, 1);
  add(200, 'example-stack', 10, 2);
  add(310, 'photos', 20, 1);
  for (const container of world.containers) if (container.service === 'jellyfin') container.sick = 'once';
  return world;
}

function settled(world: World, stack: Stack, service: Service): Container {
  const container = toContainer(world, stack, stack.endpointId, service);
  container.createdAt = world.now() - 48 * hourMs;
  container.startedAt = world.now() - 2 * hourMs;
  container.state = 'running';
  if (service.exits) Object.assign(container, { state: 'exited', finishedAt: container.startedAt + 1_000 });
  return container;
}
