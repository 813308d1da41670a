import { type SandboxCall, sendJson } from '../server.ts';
import { runContainer } from './compose.ts';
import type { CountName, Counts } from './counts.ts';
import { answerSwarm, taskContainers } from './swarm.ts';
import { type Container, type Endpoint, healthOf, settle, type Times, type World } from './world.ts';

const iso = (at: number) => (at === 0 ? '0001-01-01T00:00:00Z' : new Date(at).toISOString());

function ago(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} seconds`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} minutes`;
  return `${Math.floor(seconds / 3600)} hours`;
}

function statusText(world: World, container: Container): string {
  const health = healthOf(world, container);
  const up = `Up ${ago(world.now() - container.startedAt)}`;
  switch (container.state) {
    case 'running':
      if (health === undefined) return up;
      return `${up} (${health === 'starting' ? 'health: starting' : health})`;
    case 'paused':
      return `${up} (Paused)`;
    case 'exited':
      return `Exited (${container.exitCode}) ${ago(world.now() - container.finishedAt)} ago`;
    case 'restarting':
      return `Restarting (${container.exitCode}) ${ago(world.now() - container.finishedAt)} ago`;
    case 'created':
      return 'Created';
    default:
      return container.state === 'dead' ? 'Dead' : 'Removal In Progress';
  }
}

const speaksHealth = ({ docker }: Endpoint) => Number.parseInt(docker, 10) >= 29;

const summary = (world: World, endpoint: Endpoint, container: Container) => ({
  Id: container.id,
  Names: [`/${container.name}`],
  Image: container.image,
  State: container.state,
  Status: statusText(world, container),
  Created: Math.floor(container.createdAt / 1000),
  Labels: container.labels,
  HostConfig: { NetworkMode: container.networkMode ?? `${container.project}_default` },
  NetworkSettings: { Networks: {} },
  Mounts: [],
  Ports: Object.entries(container.ports).map(([inside, outside]) => ({
    IP: '0.0.0.0',
    PrivatePort: Number.parseInt(inside, 10),
    PublicPort: Number(outside),
    Type: 'tcp',
  })),
  Portainer: { ResourceControl: null },
  ...(container.isPortainer ? { IsPortainer: true } : {}),
  ...(speaksHealth(endpoint)
    ? { Health: { Status: healthOf(world, container) ?? 'none', FailingStreak: container.sick === undefined ? 0 : 3 } }
    : {}),
});

const healthcheckJson = ({ intervalMs, retries, startPeriodMs }: NonNullable<Container['healthcheck']>) => ({
  Test: ['CMD', 'true'],
  Interval: intervalMs * 1e6,
  Timeout: 5e9,
  Retries: retries,
  ...(startPeriodMs === 0 ? {} : { StartPeriod: startPeriodMs * 1e6 }),
});

const inspection = (world: World, container: Container) => {
  const health = healthOf(world, container);
  const running = container.state === 'running' || container.state === 'paused';
  return {
    Id: container.id,
    Name: `/${container.name}`,
    Created: iso(container.createdAt),
    RestartCount: container.restartCount,
    State: {
      Status: container.state,
      Running: running,
      Paused: container.state === 'paused',
      Restarting: container.state === 'restarting',
      OOMKilled: false,
      Dead: container.state === 'dead',
      Pid: running ? 4242 : 0,
      ExitCode: container.exitCode,
      Error: container.startError ?? '',
      StartedAt: iso(container.startedAt),
      FinishedAt: iso(container.finishedAt),
      ...(health === undefined
        ? {}
        : { Health: { Status: health, FailingStreak: health === 'unhealthy' ? 3 : 0, Log: [] } }),
    },
    HostConfig: {
      RestartPolicy: { Name: container.restartPolicy, MaximumRetryCount: 0 },
      PortBindings: Object.fromEntries(
        Object.entries(container.ports).map(([inside, outside]) => [inside, [{ HostIp: '', HostPort: outside }]]),
      ),
    },
    Config: {
      Image: container.image,
      Labels: container.labels,
      Env: container.env,
      ...(container.healthcheck === undefined ? {} : { Healthcheck: healthcheckJson(container.healthcheck) }),
    },
  };
};

function isWanted(container: Container, filters: Record<string, string[]>): boolean {
  const hasLabel = (wanted: string) => {
    const [name = '', ...value] = wanted.split('=');
    return value.length === 0 ? name in container.labels : container.labels[name] === value.join('=');
  };
  const states = filters.status ?? [];
  return (filters.label ?? []).every(hasLabel) && (states.length === 0 || states.includes(container.state));
}

const actionCounts: Record<string, CountName> = {
  start: 'containerStarts',
  restart: 'containerRestarts',
  unpause: 'containerUnpauses',
  stop: 'containerStops',
};

/** The Docker Engine's API as Portainer's proxy passes it on. */
export function createDockerProxy(world: World, times: Times, counts: Counts) {
  async function act(container: Container, action: string, res: SandboxCall['res']): Promise<void> {
    const done = (status: number) => void res.writeHead(status).end();
    const { state } = container;
    const isUp = state === 'running' || state === 'restarting';
    if (action === 'unpause' && state !== 'paused') {
      return sendJson(res, 500, { message: `Container ${container.id} is not paused` });
    }
    if (action === 'stop' && ['exited', 'created', 'dead'].includes(state)) return done(304);
    if (action === 'start' && isUp) return done(304);
    if (action === 'start' && state === 'paused') {
      return sendJson(res, 409, { message: 'cannot start a paused container, try unpause instead' });
    }
    if (action === 'start' && (state === 'dead' || state === 'removing')) {
      return sendJson(res, 409, { message: 'container is marked for removal and cannot be started' });
    }
    counts.add(actionCounts[action] as CountName, container.name);
    if (action === 'unpause') {
      container.state = 'running';
      return done(204);
    }
    await times.sleep(times.startMs);
    if (action === 'stop') {
      Object.assign(container, { state: 'exited', exitCode: 0, finishedAt: world.now() });
      return done(204);
    }
    if (container.startError !== undefined) return sendJson(res, 500, { message: container.startError });
    runContainer(world, container);
    done(204);
  }

  function remove(container: Container, { query, res }: SandboxCall) {
    const isUp = ['running', 'paused', 'restarting'].includes(container.state);
    if (isUp && !['1', 'true'].includes(query.get('force') ?? '')) {
      const message = `cannot remove container "/${container.name}": container is ${container.state}: stop the container before removing or force remove`;
      return sendJson(res, 409, { message });
    }
    counts.add('containerRemovals', container.name);
    world.containers = world.containers.filter((item) => item !== container);
    res.writeHead(204).end();
  }

  /** What keeps a call from the endpoint's Docker: true when it was answered, or never will be. */
  async function isCutOff(endpoint: Endpoint, { res }: SandboxCall): Promise<boolean> {
    const { edge } = endpoint;
    if (endpoint.silent) return true;
    if (edge?.asyncMode) {
      const details = 'Cannot open a tunnel for async edge environments';
      sendJson(res, 500, { message: 'Unable to get the active tunnel', details });
      return true;
    }
    if (edge?.tunnelMs !== undefined) {
      const { tunnelMs } = edge;
      delete edge.tunnelMs;
      await times.sleep(tunnelMs);
    }
    if (endpoint.down && edge === undefined) res.writeHead(502).end();
    else if (endpoint.down) {
      sendJson(res, 500, { message: 'Unable to get the active tunnel', details: 'Unable to open the tunnel' });
    }
    return endpoint.down;
  }

  return async (call: SandboxCall, endpointId: number, path: string): Promise<void> => {
    const { method, query, body, res } = call;
    const endpoint = world.endpoints.find(({ id }) => id === endpointId);
    if (endpoint === undefined) {
      const message = 'Unable to find an environment with the specified identifier inside the database';
      return sendJson(res, 404, { message, details: 'Object not found inside the database' });
    }
    if (await isCutOff(endpoint, call)) return;
    const version = /^\/v(\d+\.\d+)\//.exec(path)?.[1];
    if (version !== undefined && speaksHealth(endpoint) && Number(version.split('.')[1]) < 44) {
      const message = `client version ${version} is too old. Minimum supported API version is 1.44, please upgrade your client to a newer version`;
      return sendJson(res, 400, { message });
    }
    const route = path.replace(/^\/v\d+\.\d+/, '');
    if (answerSwarm(world, endpoint, route, call)) return;
    const own = world.containers.filter((container) => container.endpointId === endpointId);
    for (const container of own) settle(world, container);
    const here = [...own, ...taskContainers(world, endpointId)];
    if (method === 'GET' && route === '/containers/json') {
      const filters = JSON.parse(query.get('filters') ?? '{}') as Record<string, string[]>;
      const all = ['1', 'true'].includes(query.get('all') ?? '');
      const shown = here.filter(
        (item) =>
          (all || ['running', 'paused', 'restarting'].includes(item.state)) &&
          isWanted(item, filters) &&
          !world.hiddenLabels.some((label) => isWanted(item, { label: [label] })),
      );
      return sendJson(
        res,
        200,
        shown.map((container) => summary(world, endpoint, container)),
      );
    }
    const [, id = '', action = ''] =
      /^\/containers\/([^/]+)(?:\/(json|start|restart|stop|unpause))?$/.exec(route) ?? [];
    if (id === '') return sendJson(res, 404, { message: 'page not found' });
    const container = here.find((item) => item.id.startsWith(id) || item.name === id);
    if (container === undefined) return sendJson(res, 404, { message: `No such container: ${id}` });
    if (method === 'GET' && action === 'json') return sendJson(res, 200, inspection(world, container));
    if (method === 'DELETE' && action === '') return remove(container, call);
    if (method !== 'POST' || action === '' || action === 'json') {
      return sendJson(res, 404, { message: 'page not found' });
    }
    if (action === 'start' && body !== '') {
      return sendJson(res, 400, {
        message: 'starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24',
      });
    }
    return act(container, action, res);
  };
}
