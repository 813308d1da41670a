import { type SandboxCall, sendJson } from '../server.ts';
import { readServices } from './compose.ts';
import type { Container, Endpoint, Stack, SwarmService, World } from './world.ts';

/** `docker stack deploy`: returns at once, and Swarm brings the tasks up by itself. */
export function deployServices(world: World, stack: Stack, endpointId: number, atMs = world.now()): void {
  for (const service of readServices(stack)) {
    const name = `${stack.name}_${service.name}`;
    if (world.services.some((item) => item.endpointId === endpointId && item.name === name)) continue;
    world.services.push({
      id: world.nextId().slice(0, 25),
      endpointId,
      namespace: stack.name,
      name,
      image: service.image,
      labels: { 'com.docker.stack.namespace': stack.name, ...service.deployLabels },
      env: service.env,
      mode: service.job ? 'job' : 'replicated',
      replicas: service.replicas,
      version: 10,
      deployedAt: atMs,
    });
  }
}

/** `docker stack rm`. */
export function removeServices(world: World, stack: Stack, endpointId: number): void {
  world.services = world.services.filter((item) => item.endpointId !== endpointId || item.namespace !== stack.name);
}

function runningTasks(world: World, { rejected, deployedAt, replicas, mode }: SwarmService): number {
  if (rejected !== undefined || mode === 'job') return 0;
  return world.now() - deployedAt < world.healthyAfterMs ? 0 : replicas;
}

/** The containers of running tasks: they carry the stack's namespace, and no compose project. */
export function taskContainers(world: World, endpointId: number): Container[] {
  const here = world.services.filter((service) => service.endpointId === endpointId);
  return here.flatMap((service) =>
    Array.from({ length: runningTasks(world, service) }, (_, index): Container => {
      const id = `${service.id}${String(index + 1).padStart(39, '0')}`;
      return {
        id,
        endpointId,
        name: `${service.name}.${index + 1}.${service.id}`,
        image: service.image,
        project: '',
        service: service.name,
        labels: {
          'com.docker.stack.namespace': service.namespace,
          'com.docker.swarm.service.name': service.name,
          'com.docker.swarm.service.id': service.id,
          'com.docker.swarm.task.name': `${service.name}.${index + 1}.${service.id}`,
        },
        env: service.env,
        restartPolicy: '',
        healthcheck: undefined,
        ports: {},
        state: 'running',
        exitCode: 0,
        createdAt: service.deployedAt,
        startedAt: service.deployedAt,
        finishedAt: 0,
        restartCount: 0,
        exits: false,
      };
    }),
  );
}

function serviceJson(world: World, service: SwarmService, withStatus: boolean) {
  const { mode, replicas } = service;
  return {
    ID: service.id,
    Version: { Index: service.version },
    CreatedAt: new Date(service.deployedAt).toISOString(),
    UpdatedAt: new Date(service.deployedAt).toISOString(),
    Spec: {
      Name: service.name,
      Labels: service.labels,
      TaskTemplate: { ContainerSpec: { Image: service.image, Env: service.env }, ForceUpdate: 0 },
      Mode:
        mode === 'global'
          ? { Global: {} }
          : mode === 'job'
            ? { ReplicatedJob: { MaxConcurrent: 1, TotalCompletions: 1 } }
            : { Replicated: { Replicas: replicas } },
    },
    ...(withStatus
      ? {
          ServiceStatus: {
            RunningTasks: runningTasks(world, service),
            DesiredTasks: mode === 'job' ? 1 : replicas,
            CompletedTasks: mode === 'job' ? 1 : 0,
          },
        }
      : {}),
  };
}

/** The Swarm side of a node's Docker: services, tasks and info; false when the call is for something else. */
export function answerSwarm(world: World, endpoint: Endpoint, route: string, { method, query, res }: SandboxCall) {
  const here = world.services.filter(({ endpointId }) => endpointId === endpoint.id);
  if (method === 'GET' && route === '/info') {
    const swarm =
      endpoint.swarmId === undefined
        ? { LocalNodeState: 'inactive', ControlAvailable: false }
        : { LocalNodeState: 'active', ControlAvailable: true, Cluster: { ID: endpoint.swarmId } };
    sendJson(res, 200, { Name: endpoint.name, ServerVersion: endpoint.docker, Swarm: swarm });
    return true;
  }
  if (!/^\/(services|tasks)(\/|$)/.test(route)) return false;
  if (endpoint.swarmId === undefined) {
    const message =
      'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';
    sendJson(res, 503, { message });
    return true;
  }
  const filters = JSON.parse(query.get('filters') ?? '{}') as Record<string, string[]>;
  const wanted = here.filter(({ labels, name, id }) => {
    const hasLabel = (label: string) => {
      const [key = '', ...value] = label.split('=');
      return value.length === 0 ? key in labels : labels[key] === value.join('=');
    };
    const named = filters.service ?? [];
    return (filters.label ?? []).every(hasLabel) && (named.length === 0 || named.includes(name) || named.includes(id));
  });
  if (method === 'GET' && route === '/services') {
    const withStatus = query.get('status') === 'true';
    sendJson(
      res,
      200,
      wanted.map((service) => serviceJson(world, service, withStatus)),
    );
  } else if (method === 'GET' && route === '/tasks') {
    sendJson(
      res,
      200,
      wanted.flatMap((service) => tasksOf(world, service)),
    );
  } else {
    const found = here.find(({ id, name }) => route === `/services/${id}` || route === `/services/${name}`);
    if (method === 'GET' && found !== undefined) sendJson(res, 200, serviceJson(world, found, false));
    else
      sendJson(res, 404, { message: found === undefined ? `service ${route.slice(10)} not found` : 'page not found' });
  }
  return true;
}

function tasksOf(world: World, service: SwarmService) {
  const running = runningTasks(world, service);
  return Array.from({ length: service.mode === 'job' ? 1 : service.replicas }, (_, index) => {
    const done = service.mode === 'job';
    const state = done ? 'complete' : service.rejected ? 'rejected' : index < running ? 'running' : 'preparing';
    return {
      ID: `${service.id.slice(0, 20)}t${index + 1}`,
      ServiceID: service.id,
      Slot: index + 1,
      DesiredState: done ? 'complete' : service.rejected ? 'shutdown' : 'running',
      Status: { State: state, Message: state, ...(service.rejected ? { Err: service.rejected } : {}) },
    };
  });
}

/** PUT /api/endpoints/{id}/forceupdateservice: Portainer's way to restart one service. */
export function forceUpdate(world: World, endpointId: number, { json, res }: SandboxCall) {
  const { ServiceID } = (json ?? {}) as { ServiceID?: string };
  const service = world.services.find((item) => item.endpointId === endpointId && item.id === ServiceID);
  if (service === undefined) {
    return sendJson(res, 500, { message: 'Error looking up service', details: `Service ${ServiceID} not found` });
  }
  service.version += 1;
  service.deployedAt = world.now();
  sendJson(res, 200, { Warnings: null });
}
