import { setTimeout as wait } from 'node:timers/promises';
import { createPortainerAuth } from './portainer/auth.ts';
import { createDockerProxy } from './portainer/docker.ts';
import { createStacksApi, families } from './portainer/stacks.ts';
import { createWorld, type World } from './portainer/world.ts';
import { runSandbox, type Sandbox, type SandboxCall, sendJson, startSandbox } from './server.ts';

export interface PortainerSandboxOptions {
  port?: number;
  seed?: number;
  /** `old`: 2.39 and before. */
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
  /** As an upgrade does: every JWT is invalid after it. */
  restart(): void;
}

/**
 * A simulated Portainer 2.39 with Docker behind it. `POST /_sandbox/restart` makes every JWT invalid, as a restart of
 * Portainer does.
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
  const auth = createPortainerAuth({ username, password, apiKey, now, nextId: world.nextId, sessionMs });
  const docker = createDockerProxy(world, times);
  const stacks = createStacksApi(world, family, times);
  const status = { Version: family.version, InstanceID: world.nextId().slice(0, 32) };

  const endpointJson = ({ id, name, url, down }: World['endpoints'][number], excludeSnapshots: boolean) => ({
    Id: id,
    Name: name,
    Type: 2,
    ContainerEngine: 'docker',
    URL: url,
    GroupId: 1,
    PublicURL: '',
    Status: down ? 2 : 1,
    Snapshots: excludeSnapshots ? [] : [{ Time: Math.floor(now() / 1000), DockerVersion: '29.1.0', Swarm: false }],
    TagIds: [],
    EdgeID: '',
    EdgeKey: '',
    LastCheckInDate: 0,
    Heartbeat: false,
    UserTrusted: false,
    Edge: { AsyncMode: false, PingInterval: 0, SnapshotInterval: 0, CommandInterval: 0 },
    Agent: { Version: family.version },
    SecuritySettings: { allowStackManagementForRegularUsers: true },
  });

  function listEndpoints({ query, res }: SandboxCall): void {
    const name = query.get('name');
    const shown = world.endpoints.filter((endpoint) => name === null || endpoint.name === name);
    const body = shown.map((endpoint) => endpointJson(endpoint, query.get('excludeSnapshots') === 'true'));
    sendJson(res, 200, body, {
      'X-Total-Count': String(shown.length),
      'X-Total-Available': String(world.endpoints.length),
    });
  }

  async function handle(call: SandboxCall): Promise<void> {
    const { method, path, res } = call;
    if (method === 'POST' && path === '/_sandbox/restart') {
      auth.restart();
      return void res.writeHead(204).end();
    }
    if (method === 'POST' && path === '/api/auth') return auth.login(call);
    if (method === 'GET' && /^\/api\/(system\/)?status$/.test(path)) return sendJson(res, 200, status);
    if (!path.startsWith('/api/')) {
      // Whatever is not the API is the single page application.
      res.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' });
      return void res.end('<!doctype html><html><head><title>Portainer</title></head><body></body></html>');
    }
    const proxied = /^\/api\/endpoints\/(\d+)\/docker(\/.*)$/.exec(path);
    const endpoint = /^\/api\/endpoints(?:\/(\d+))?$/.exec(path);
    const stack = /^\/api\/stacks(?:\/(\d+)(?:\/(\w+))?)?$/.exec(path);
    if (proxied === null && endpoint === null && stack === null) {
      res.writeHead(404, { 'Content-Type': 'text/plain; charset=utf-8' });
      return void res.end('404 page not found\n');
    }
    if (!auth.admit(call)) return;
    if (proxied !== null) return docker(call, Number(proxied[1]), proxied[2] as string);
    if (stack !== null) return stacks(call, stack[1], stack[2]);
    if (endpoint?.[1] === undefined) return listEndpoints(call);
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
    }),
  });
  return Object.assign(sandbox, {
    credentials: { PORTAINER_USERNAME: username, PORTAINER_PASSWORD: password },
    apiKey,
    world,
    restart: auth.restart,
  });
}

if (import.meta.main) await runSandbox(startPortainerSandbox);
