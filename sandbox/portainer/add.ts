import { readServices, toContainer } from './compose.ts';
import { seedFiles } from './seed.ts';
import { deployServices } from './swarm.ts';
import type { Container, Stack, World } from './world.ts';

const hourMs = 3_600_000;

export interface AddedStack {
  id?: number;
  name: string;
  /** prod-vm-1 (10) without it. */
  endpointId?: number;
  type?: Stack['type'];
  /** Inactive without it. */
  status?: Stack['status'];
  /** The compose file; the seed's of that name without it. */
  file?: string;
  env?: Record<string, string>;
  /**
   * Set: the containers are there, up for hours and healthy, jobs completed; by service what is else with them,
   * or null for none.
   */
  containers?: Record<string, Partial<Container> | null>;
  /** Why the last deployment failed, for status 4. */
  error?: string;
  gitUrl?: string;
}

let lastId = 500;

/** One more stack, in the state that a test or a demonstration wants. A Swarm one that is active has its services. */
export function addStack(world: World, wanted: AddedStack): Stack {
  const { name, endpointId = 10, type = 2, status = 2, env = {}, error } = wanted;
  const file = wanted.file ?? seedFiles[name];
  if (file === undefined) throw new Error(`No stack file for ${name}`);
  lastId += 1;
  const stack: Stack = {
    id: wanted.id ?? lastId,
    name,
    type,
    endpointId,
    status,
    deployments: error === undefined ? [] : [{ status: 4, atMs: world.now(), message: error }],
    env: Object.entries(env).map(([key, value]) => ({ name: key, value })),
    file,
    createdAt: world.now() - 720 * hourMs,
    updatedAt: 0,
    ...(wanted.gitUrl === undefined ? {} : { gitUrl: wanted.gitUrl }),
  };
  world.stacks.push(stack);
  if (type === 1 && status === 1) deployServices(world, stack, endpointId, world.now() - 48 * hourMs);
  if (type === 2 && wanted.containers !== undefined) addContainers(world, stack, wanted.containers);
  return stack;
}

function addContainers(world: World, stack: Stack, changes: Record<string, Partial<Container> | null>): Container[] {
  const added = readServices(stack).flatMap((service): Container[] => {
    const change = changes[service.name];
    if (change === null || (change === undefined && service.replicas === 0)) return [];
    const container = toContainer(world, stack, stack.endpointId, service);
    container.createdAt = world.now() - 48 * hourMs;
    container.startedAt = world.now() - 2 * hourMs;
    container.state = 'running';
    if (service.exits) Object.assign(container, { state: 'exited', finishedAt: container.startedAt + 1_000 });
    return [Object.assign(container, change)];
  });
  world.containers.push(...added);
  return added;
}

/** A compose project that somebody deployed past Portainer: containers, and no stack. */
export function addExternal(
  world: World,
  wanted: Pick<AddedStack, 'name' | 'endpointId' | 'containers'> & { file: string },
): Container[] {
  const { name, endpointId = 10, file, containers = {} } = wanted;
  const stack: Stack = {
    id: 0,
    name,
    type: 2,
    endpointId,
    status: 1,
    deployments: [],
    env: [],
    file,
    createdAt: 0,
    updatedAt: 0,
  };
  const added = addContainers(world, stack, containers);
  for (const { labels } of added) {
    labels['com.docker.compose.project.working_dir'] = `/home/admin/${name}`;
    labels['com.docker.compose.project.config_files'] = `/home/admin/${name}/compose.yaml`;
  }
  return added;
}
