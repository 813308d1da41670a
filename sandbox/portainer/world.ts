import { createRandom } from '../server.ts';
import { addStack } from './add.ts';

export interface Endpoint {
  id: number;
  name: string;
  url: string;
  /** 1 Docker, 2 agent, 4 edge agent on Docker; 5, 6 and 7 the same of Kubernetes. */
  type: number;
  /** The agent refuses connections: docker calls get an empty 502. Portainer's own status follows minutes later, or never. */
  down: boolean;
  /** The host drops packets: docker calls hang, since Portainer's proxy has no time-out for a connection. */
  silent?: boolean;
  /** Of an edge agent: async ones never have a tunnel, others open it at the first call. */
  edge?: { asyncMode: boolean; tunnelMs?: number };
  /** Docker's version: 29 tells health in lists, and refuses API versions below 1.44. */
  docker: string;
  /** Set: a manager of this Swarm. */
  swarmId?: string;
}

export interface DeploymentStatus {
  status: number;
  atMs: number;
  message: string;
}

export interface Stack {
  id: number;
  name: string;
  /** 1 swarm, 2 compose, 3 kubernetes. */
  type: 1 | 2 | 3;
  endpointId: number;
  /** 1 active, 2 inactive, and since 2.4x 3 deploying, 4 error: what Portainer was told, not what the containers do. */
  status: 1 | 2 | 3 | 4;
  deployments: DeploymentStatus[];
  env: { name: string; value: string }[];
  file: string;
  createdAt: number;
  updatedAt: number;
  /** Set: the stack comes from a Git repository. */
  gitUrl?: string;
  /** Set: `compose up` fails with it, and leaves its containers created. */
  startError?: string;
  /** Set: `compose down` fails with it. */
  stopError?: string;
  /** How long its images take to pull; on top of what every start takes. */
  pullMs?: number;
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
  healthcheck: Healthcheck | undefined;
  /** `8080/tcp` of the container to a port of the host. */
  ports: Record<string, string>;
  state: 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead';
  exitCode: number;
  createdAt: number;
  startedAt: number;
  finishedAt: number;
  restartCount: number;
  /** once: unhealthy until it is restarted; always: no restart helps. */
  sick?: 'once' | 'always';
  /** A job: exits with 0 as soon as it ran. */
  exits: boolean;
  /** Ends with 1 this long after each start. */
  crashesAfterMs?: number;
  /** Docker refuses to start it, with this message. */
  startError?: string;
  isPortainer?: boolean;
  /** `container:<id>` where it uses another one's network; its project's without it. */
  networkMode?: string;
}

/** In milliseconds, as the compose file or Docker's defaults have it. */
export interface Healthcheck {
  intervalMs: number;
  retries: number;
  startPeriodMs: number;
}

export interface SwarmService {
  id: string;
  endpointId: number;
  /** The stack's name: `com.docker.stack.namespace`. */
  namespace: string;
  name: string;
  image: string;
  labels: Record<string, string>;
  env: string[];
  mode: 'replicated' | 'global' | 'job';
  replicas: number;
  version: number;
  deployedAt: number;
  /** Set: no node can run its tasks, which are rejected with it. */
  rejected?: string;
}

export interface World {
  endpoints: Endpoint[];
  stacks: Stack[];
  containers: Container[];
  services: SwarmService[];
  /** Containers with one of these labels (`name=value`) are in no list, as under `--hide-label`. */
  hiddenLabels: string[];
  /** Grows with each restart of Portainer: what an earlier process had begun ends where it was. */
  epoch: number;
  now: () => number;
  /** How long a healthcheck says "starting". */
  healthyAfterMs: number;
  /** Docker's 64 hex digits. */
  nextId: () => string;
}

/** How long compose, or one container, takes to start or stop. */
export interface Times {
  startMs: number;
  sleep: (ms: number) => Promise<void>;
}

/** The label by which compose, and Portainer's check for name collisions, know a stack's containers. */
export const projectOf = (stack: Pick<Stack, 'name'>) => stack.name.toLowerCase().replace(/[^-_a-z0-9]/g, '');

export const containersOf = (world: World, endpointId: number, project: string) =>
  world.containers.filter((item) => item.endpointId === endpointId && item.project === project);

/** As `docker inspect` sees it; undefined without a healthcheck. */
export function healthOf(world: World, container: Container): 'starting' | 'healthy' | 'unhealthy' | undefined {
  if (container.healthcheck === undefined || !['running', 'paused'].includes(container.state)) return undefined;
  if (world.now() - container.startedAt < world.healthyAfterMs) return 'starting';
  return container.sick === undefined ? 'healthy' : 'unhealthy';
}

/** Puts a container that has crashed since its last look where Docker would have put it by now. */
export function settle(world: World, container: Container): void {
  const { crashesAfterMs, restartPolicy, state } = container;
  if (crashesAfterMs === undefined || !['running', 'restarting'].includes(state)) return;
  const ranMs = world.now() - container.startedAt;
  if (ranMs < crashesAfterMs) return;
  const restarts = ['always', 'unless-stopped', 'on-failure'].includes(restartPolicy);
  // Docker doubles the pause before each restart up to a minute; the loop is seen in its pauses.
  const count = Math.floor(Math.log2(ranMs / Math.max(1, crashesAfterMs)) + 1);
  container.state = restarts ? 'restarting' : 'exited';
  container.exitCode = 1;
  container.finishedAt = world.now();
  container.restartCount = restarts ? Math.max(container.restartCount, count) : 0;
}

/** Two endpoints: prod-vm-1 (10) with four stacks in different health, prod-vm-2 (20) with one. The same for every seed but ids. */
export function createWorld(options: { seed: number; now: () => number; healthyAfterMs: number }): World {
  const { now, healthyAfterMs } = options;
  const random = createRandom(options.seed);
  const nextId = () => Array.from({ length: 64 }, () => Math.floor(random() * 16).toString(16)).join('');
  const world: World = {
    endpoints: [
      { id: 10, name: 'prod-vm-1', url: 'tcp://10.0.0.5:9001', type: 2, down: false, docker: '29.1.0' },
      { id: 20, name: 'prod-vm-2', url: 'tcp://10.0.0.6:9001', type: 2, down: false, docker: '28.5.2' },
    ],
    stacks: [],
    containers: [],
    services: [],
    hiddenLabels: [],
    epoch: 0,
    now,
    healthyAfterMs,
    nextId,
  };
  addStack(world, {
    id: 80,
    name: 'nextcloud',
    env: { DOMAIN: 'cloud.server.local', DB_PASSWORD: 'sandbox-db-password' },
  });
  addStack(world, { id: 120, name: 'mediaservice', status: 1, containers: { jellyfin: { sick: 'once' } } });
  addStack(world, { id: 150, name: 'n8n', status: 1, containers: {} });
  addStack(world, { id: 200, name: 'example-stack' });
  addStack(world, { id: 310, name: 'photos', endpointId: 20, status: 1, containers: {} });
  return world;
}
