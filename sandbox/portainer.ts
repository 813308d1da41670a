import { setTimeout as wait } from 'node:timers/promises';
import { createPortainerAuth } from './portainer/auth.ts';
import { type Counts, createCounts } from './portainer/counts.ts';
import { createDockerProxy } from './portainer/docker.ts';
import { families } from './portainer/families.ts';
import { createStacksApi } from './portainer/stacks.ts';
import { forceUpdate } from './portainer/swarm.ts';
import { createWorld, type World } from './portainer/world.ts';
import { runSandbox, type Sandbox, type SandboxCall, sendJson, startSandbox } from './server.ts';

export interface PortainerSandboxOptions {
  port?: number;
  seed?: number;
  /** `old`: 2.39 and before; `new`: 2.4x, with statuses 3 and 4. */
  profile?: string;
  now?: () => number;
  sleep?: (ms: number) => Promise<void>;
  /** How long compose, or one container, takes to start or stop. */
  startMs?: number;
  /** How long a healthcheck says "starting" after that. */
  healthyAfterMs?: number;
  sessionMs?: number;
}

export interface PortainerSandbox extends Sandbox {
  credentials: Record<string, string>;
  /** An access token that is accepted as X-API-KEY. */
  apiKey: string;
  /** Endpoints, stacks and containers; a test may change them. */
  world: World;
  /** What was done, and how often. */
  counts: Counts;
  /**
   * As an upgrade does: connections drop, for `downMs` nobody listens, starts that were going on end half-way, every
   * JWT is invalid, and bans are forgotten.
   */
  restart(downMs?: number): void;
  /** Bans the caller on 127.0.0.1 for an hour, as more than ten logins in a second do; `pardon` lifts it. */
  ban(): void;
  pardon(): void;
}

/**
 * A simulated Portainer with Docker behind it, of the family up to 2.39 or of the one after it. For programs:
 * `POST /_sandbox/restart?downMs=500`, `POST /_sandbox/ban`, `POST /_sandbox/pardon`; tests change `world` as they like.
 */
export async function startPortainerSandbox(options: PortainerSandboxOptions = {}): Promise<PortainerSandbox> {
  const { seed = 1, profile = 'old', now = Date.now, sleep = (ms: number) => wait(ms) } = options;
  const { startMs = 150, healthyAfterMs = 2_000, sessionMs = 8 * 3_600_000 } = options;
  const family = families[profile];
  if (family === undefined)
    throw new Error(`Unknown profile ${profile}: known are ${Object.keys(families).join(', ')}`);

  const world = createWorld({ seed, now, healthyAfterMs });
  const times = { startMs, sleep };
  const username = 'admin';
  const password = 'sandbox-password';
  const apiKey = 'ptr_sandbox-access-token';
  const counts = createCounts();
  const auth = createPortainerAuth({ username, password, apiKey, now, nextId: world.nextId, sessionMs, counts });
  const docker = createDockerProxy(world, times, counts);
  const stacks = createStacksApi(world, family, times, counts);
  const status = { Version: family.version, InstanceID: world.nextId().slice(0, 32) };

  let downUntil = 0;
  const open = new Set<SandboxCall['res']>();

  function restart(downMs = 0): void {
    auth.restart();
    world.epoch += 1;
    downUntil = now() + downMs;
    for (const res of open) res.socket?.resetAndDestroy();
  }
  const ban = () => auth.ban('127.0.0.1');

  const endpointJson = (endpoint: World['endpoints'][number], excludeSnapshots: boolean) => ({
    Id: endpoint.id,
    Name: endpoint.name,
    Type: endpoint.type,
    ContainerEngine: 'docker',
    URL: endpoint.url,
    GroupId: 1,
    PublicURL: '',
    Status: endpoint.down || endpoint.silent ? 2 : 1,
    Snapshots: excludeSnapshots
      ? []
      : [
          {
            Time: Math.floor(now() / 1000),
            DockerVersion: endpoint.docker,
            Swarm: endpoint.swarmId !== undefined,
            DockerSnapshotRaw: { Containers: world.containers.filter((item) => item.endpointId === endpoint.id) },
          },
        ],
    TagIds: [],
    EdgeID: endpoint.edge === undefined ? '' : `edge-${endpoint.id}`,
    EdgeKey: '',
    LastCheckInDate: endpoint.edge === undefined ? 0 : Math.floor(now() / 1000) - 2,
    QueryDate: Math.floor(now() / 1000),
    Heartbeat: endpoint.edge !== undefined && !endpoint.down,
    UserTrusted: endpoint.edge !== undefined,
    Edge: { AsyncMode: endpoint.edge?.asyncMode ?? false, PingInterval: 0, SnapshotInterval: 0, CommandInterval: 0 },
    Agent: { Version: endpoint.type === 1 ? '' : family.version },
    SecuritySettings: { allowStackManagementForRegularUsers: true },
  });

  function listEndpoints({ query, res }: SandboxCall): void {
    const name = query.get('name');
    const types = query.getAll('types[]').map(Number);
    const shown = world.endpoints.filter(
      (endpoint) => (name === null || endpoint.name === name) && (types.length === 0 || types.includes(endpoint.type)),
    );
    const body = shown.map((endpoint) => endpointJson(endpoint, query.get('excludeSnapshots') === 'true'));
    sendJson(res, 200, body, {
      'X-Total-Count': String(shown.length),
      'X-Total-Available': String(world.endpoints.length),
    });
  }

  async function handle(call: SandboxCall): Promise<void> {
    const { method, path, query, res } = call;
    if (method === 'POST' && /^\/_sandbox\/(restart|ban|pardon)$/.test(path)) {
      res.writeHead(204).end();
      if (path.endsWith('ban')) return ban();
      return path.endsWith('pardon') ? auth.pardon() : restart(Number(query.get('downMs') ?? 0));
    }
    if (now() < downUntil) return void res.socket?.resetAndDestroy();
    open.add(res);
    res.once('close', () => open.delete(res));
    if (method === 'POST' && path === '/api/auth') return auth.login(call);
    if (method === 'GET' && /^\/api\/(system\/)?status$/.test(path)) return sendJson(res, 200, status);
    if (!path.startsWith('/api/')) {
      // Whatever is not the API is the single page application.
      res.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' });
      return void res.end('<!doctype html><html><head><title>Portainer</title></head><body></body></html>');
    }
    const proxied = /^\/api\/endpoints\/(\d+)\/docker(\/.*)$/.exec(path);
    const endpoint = /^\/api\/endpoints(?:\/(\d+)(\/forceupdateservice)?)?$/.exec(path);
    const stack = /^\/api\/stacks(?:\/(\d+)(?:\/(git\/redeploy|\w+))?)?$/.exec(path);
    if (proxied === null && endpoint === null && stack === null) {
      res.writeHead(404, { 'Content-Type': 'text/plain; charset=utf-8' });
      return void res.end('404 page not found\n');
    }
    if (!auth.admit(call)) return;
    if (proxied !== null) return docker(call, Number(proxied[1]), proxied[2] as string);
    if (stack !== null) return stacks(call, stack[1], stack[2]);
    if (endpoint?.[1] === undefined) return listEndpoints(call);
    if (endpoint[2] !== undefined && method === 'PUT') return forceUpdate(world, Number(endpoint[1]), call);
    const found = world.endpoints.find(({ id }) => id === Number(endpoint[1]));
    if (found !== undefined) return sendJson(res, 200, endpointJson(found, true));
    const message = 'Unable to find an environment with the specified identifier inside the database';
    sendJson(res, 404, { message, details: 'Object not found inside the database' });
  }

  const sandbox = await startSandbox({
    name: 'portainer',
    ...(options.port === undefined ? {} : { port: options.port }),
    handle,
    unauthorized: { status: 401, body: { message: 'Invalid JWT token', details: 'Unauthorized' } },
    state: () => ({
      stacks: world.stacks.map(({ id, name, endpointId, status: state }) => ({ id, name, endpointId, status: state })),
      containers: world.containers.map(({ name, endpointId, state }) => ({ name, endpointId, state })),
      counts,
    }),
  });
  return Object.assign(sandbox, {
    credentials: { PORTAINER_USERNAME: username, PORTAINER_PASSWORD: password },
    apiKey,
    world,
    counts,
    restart,
    ban,
    pardon: auth.pardon,
  });
}

if (import.meta.main) await runSandbox(startPortainerSandbox);
