import { type SandboxCall, sendJson } from '../server.ts';
import { type Container, healthOf, type World } from './world.ts';

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
    default:
      return container.state === 'created' ? 'Created' : 'Dead';
  }
}

const summary = (world: World, container: Container) => ({
  Id: container.id,
  Names: [`/${container.name}`],
  Image: container.image,
  State: container.state,
  Status: statusText(world, container),
  Created: Math.floor(container.createdAt / 1000),
  Labels: container.labels,
  HostConfig: { NetworkMode: `${container.project}_default` },
  NetworkSettings: { Networks: {} },
  Mounts: [],
  Ports: [],
  Portainer: { ResourceControl: null },
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
    HostConfig: { RestartPolicy: { Name: container.restartPolicy, MaximumRetryCount: 0 } },
    Config: {
      Image: container.image,
      Labels: container.labels,
      Env: container.env,
      ...(container.healthcheck
        ? { Healthcheck: { Test: ['CMD', 'true'], Interval: 30e9, Timeout: 5e9, Retries: 3 } }
        : {}),
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

/** The Docker Engine's API as Portainer's proxy passes it on. */
export function createDockerProxy(world: World, times: { startMs: number; sleep: (ms: number) => Promise<void> }) {
  async function act(container: Container, action: string, res: SandboxCall['res']): Promise<void> {
    const done = (status: number) => void res.writeHead(status).end();
    const run = () => {
      container.state = 'running';
      container.startedAt = world.now();
      if (container.sick === 'once') delete container.sick;
    };
    if (action === 'unpause') {
      if (container.state !== 'paused') {
        return sendJson(res, 500, { message: `Container ${container.id} is not paused` });
      }
      container.state = 'running';
      return done(204);
    }
    if (action === 'stop') {
      if (container.state === 'exited' || container.state === 'created') return done(304);
      await times.sleep(times.startMs);
      Object.assign(container, { state: 'exited', exitCode: 0, finishedAt: world.now() });
      return done(204);
    }
    if (action === 'start' && container.state === 'running') return done(304);
    if (action === 'start' && container.state === 'paused') {
      return sendJson(res, 409, { message: 'cannot start a paused container, try unpause instead' });
    }
    await times.sleep(times.startMs);
    if (container.startError !== undefined) return sendJson(res, 500, { message: container.startError });
    run();
    done(204);
  }

  return async ({ method, query, body, res }: SandboxCall, endpointId: number, path: string): Promise<void> => {
    const endpoint = world.endpoints.find(({ id }) => id === endpointId);
    if (endpoint === undefined) {
      const message = 'Unable to find an environment with the specified identifier inside the database';
      return sendJson(res, 404, { message, details: 'Object not found inside the database' });
    }
    if (endpoint.down) return void res.writeHead(502).end();
    const version = /^\/v(\d+\.\d+)\//.exec(path)?.[1];
    if (version !== undefined && Number(version.split('.')[1]) < 44) {
      const message = `client version ${version} is too old. Minimum supported API version is 1.44, please upgrade your client to a newer version`;
      return sendJson(res, 400, { message });
    }
    const route = path.replace(/^\/v\d+\.\d+/, '');
    const here = world.containers.filter((container) => container.endpointId === endpointId);
    if (method === 'GET' && route === '/containers/json') {
      const filters = JSON.parse(query.get('filters') ?? '{}') as Record<string, string[]>;
      const all = ['1', 'true'].includes(query.get('all') ?? '');
      const shown = here.filter(
        (item) => (all || ['running', 'paused', 'restarting'].includes(item.state)) && isWanted(item, filters),
      );
      return sendJson(
        res,
        200,
        shown.map((container) => summary(world, container)),
      );
    }
    const [, id = '', action = ''] =
      /^\/containers\/([^/]+)(?:\/(json|start|restart|stop|unpause))?$/.exec(route) ?? [];
    if (id === '') return sendJson(res, 404, { message: 'page not found' });
    const container = here.find((item) => item.id.startsWith(id) || item.name === id);
    if (container === undefined) return sendJson(res, 404, { message: `No such container: ${id}` });
    if (method === 'GET' && action === 'json') return sendJson(res, 200, inspection(world, container));
    if (method === 'DELETE' && action === '') {
      world.containers.splice(world.containers.indexOf(container), 1);
      return void res.writeHead(204).end();
    }
    if (method !== 'POST' || action === '' || action === 'json')
      return sendJson(res, 404, { message: 'page not found' });
    if (action === 'start' && body !== '') {
      return sendJson(res, 400, {
        message: 'starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24',
      });
    }
    return act(container, action, res);
  };
}
