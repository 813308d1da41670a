import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import create from '../../functions/spot-start-service/index.ts';
import { type AddedStack, addExternal, addStack } from '../../sandbox/portainer/add.ts';
import type { Container } from '../../sandbox/portainer/world.ts';
import { type PortainerSandbox, startPortainerSandbox } from '../../sandbox/portainer.ts';
import type { Handler } from '../../shared/http/function.ts';
import { bodyOf, makeCall } from '../support/call.ts';

const file = `services:
  db: { image: "postgres:17", restart: unless-stopped, healthcheck: { test: ["CMD", "true"] } }
  migrate: { image: "app:1", restart: "no", depends_on: [db] }
  web:
    image: app:1
    restart: unless-stopped
    healthcheck: { test: ["CMD", "true"], interval: 1s, retries: 1 }
    depends_on: { migrate: { condition: service_completed_successfully }, db: { condition: service_started } }
  debug: { image: "app:1", profiles: [debug] }
  spare: { image: "app:1", deploy: { replicas: 0 } }
`;
const hour = 3_600_000;
const old = (state: Container['state'], fields: Partial<Container> = {}): Partial<Container> => ({
  state,
  createdAt: Date.now() - 48 * hour,
  ...fields,
});
const killed = old('exited', { exitCode: 137 });

interface Case {
  title: string;
  stack: Omit<AddedStack, 'name'>;
  /** Changes of Portainer's and Docker's state, in their order: `start`, `stop`, or an action and its service. */
  deeds: string[];
  answer: object;
}

const already = { success: true, action: 'none', details: { status: 'healthy' } };
const started = { success: true, message: 'Service app successfully started', action: 'start' };
const restarted = { success: true, message: 'Service app successfully restarted', action: 'restart' };

/** Section 5 of what is known of Portainer, case by case: its status against what the containers do. */
const cases: Case[] = [
  { title: 'stopped: inactive, without containers', stack: { status: 2 }, deeds: ['start'], answer: started },
  {
    title: 'inactive, but all run (a webhook did it)',
    stack: { status: 2, containers: {} },
    deeds: [],
    answer: already,
  },
  {
    title: 'active and healthy beside a completed job',
    stack: { status: 1, containers: {} },
    deeds: [],
    answer: already,
  },
  {
    title: 'active, and its web container still starts',
    stack: { status: 1, containers: { web: { startedAt: Date.now() + hour } } },
    deeds: [],
    answer: {
      success: true,
      message: 'Service app is already starting',
      action: 'none',
      details: { status: 'starting' },
    },
  },
  {
    title: 'partial: what it depends on comes first',
    stack: { status: 1, containers: { web: killed, db: killed } },
    deeds: ['start db', 'start web'],
    answer: started,
  },
  {
    title: 'partial: one of two was killed',
    stack: { status: 1, containers: { db: killed } },
    deeds: ['start db'],
    answer: restarted,
  },
  {
    title: 'partial: one was stopped by hand, under a restart policy',
    stack: { status: 1, containers: { web: old('exited', { exitCode: 0 }) } },
    deeds: ['start web'],
    answer: restarted,
  },
  {
    title: 'unhealthy',
    stack: { status: 1, containers: { web: { sick: 'once' } } },
    deeds: ['restart web'],
    answer: restarted,
  },
  {
    title: 'crash-looping',
    stack: { status: 1, containers: { web: old('restarting', { exitCode: 1, restartCount: 20 }) } },
    deeds: ['restart web'],
    answer: restarted,
  },
  {
    title: 'paused',
    stack: { status: 1, containers: { web: { state: 'paused' } } },
    deeds: ['unpause web'],
    answer: restarted,
  },
  {
    title: 'all exited, the job too',
    stack: { status: 1, containers: { db: killed, migrate: killed, web: killed } },
    deeds: ['start db', 'start migrate', 'start web'],
    answer: started,
  },
  {
    title: 'leftovers of a start that failed, which can be started',
    stack: { status: 2, containers: { db: old('created'), migrate: old('created'), web: old('created') } },
    deeds: ['start db', 'start migrate', 'start web'],
    answer: started,
  },
  {
    title: 'leftovers whose network is gone: they block every start, and are removed',
    stack: {
      status: 2,
      containers: {
        db: old('created', { startError: 'network app_default not found' }),
        migrate: null,
        web: old('created', { startError: 'network app_default not found' }),
      },
    },
    deeds: ['remove web', 'remove db', 'start'],
    answer: started,
  },
  { title: 'active without containers', stack: { status: 1 }, deeds: ['stop', 'start'], answer: started },
  {
    title: 'active, and the container of a service is missing',
    stack: { status: 1, containers: { db: null } },
    deeds: ['stop', 'start'],
    answer: restarted,
  },
  {
    title: 'active, and one is dead',
    stack: { status: 1, containers: { db: old('dead') } },
    deeds: ['stop', 'start'],
    answer: restarted,
  },
  {
    title: 'active, and a network was pruned: a container start is tried first',
    stack: {
      status: 1,
      containers: { db: old('exited', { exitCode: 1, startError: 'network app_default not found' }) },
    },
    deeds: ['start db', 'stop', 'start'],
    answer: restarted,
  },
  {
    title: 'active, and a port is taken: a stop would not free it',
    stack: {
      status: 1,
      containers: {
        web: old('exited', { exitCode: 1, startError: 'Bind for 0.0.0.0:80 failed: port is already allocated' }),
      },
    },
    deeds: ['start web'],
    answer: {
      success: false,
      code: 'repair_failed',
      message: expect.stringMatching(/a port that it wants is taken on its host; its containers are now: .*1 stopped/),
    },
  },
  {
    title: 'holding Portainer, with a dead container: never stopped',
    stack: { status: 1, containers: { db: old('dead'), web: { isPortainer: true } } },
    deeds: [],
    answer: { success: false, code: 'protected_stack' },
  },
  {
    title: 'holding the reverse proxy, with a killed container: mended',
    stack: { status: 1, containers: { db: killed, web: { ports: { '8443/tcp': '443' } } } },
    deeds: ['start db'],
    answer: restarted,
  },
  {
    title: 'of Kubernetes',
    stack: { status: 2, type: 3 },
    deeds: [],
    answer: { success: false, code: 'unsupported_stack', message: expect.stringContaining('Kubernetes') },
  },
];

const newCases: Case[] = [
  {
    title: 'in error, though all run',
    stack: { status: 4, containers: {}, error: 'compose up operation failed: secret' },
    deeds: [],
    answer: already,
  },
  {
    title: 'in error without containers: it is stopped, since a start is refused',
    stack: { status: 4, error: 'compose up operation failed: secret' },
    deeds: ['stop', 'start'],
    answer: started,
  },
  {
    title: 'in error, and what a failed update left can be started',
    stack: { status: 4, containers: { web: old('created') }, error: 'secret' },
    deeds: ['start web'],
    answer: restarted,
  },
];

describe.each([
  ['old', cases],
  ['new', [...cases, ...newCases]],
])('a Portainer of the %s family', (profile, table) => {
  let sandbox: PortainerSandbox;
  let handler: Handler;

  beforeEach(async () => {
    sandbox = await startPortainerSandbox({ profile, startMs: 15, healthyAfterMs: 100 });
    handler = create({
      AUTH: 'none',
      SECRET_MOUNT_PATH: '/nonexistent',
      PORTAINER_API_URL: sandbox.url,
      PORTAINER_API_KEY: sandbox.apiKey,
      START_TIMEOUT_MS: '3000',
      DEADLINE_MS: '8000',
    });
  });
  afterEach(() => sandbox.close());

  async function send(body: object) {
    const { event, context, lines } = makeCall({ method: 'POST', body: JSON.stringify(body) });
    const response = await handler(event, context);
    return { status: response.status, body: bodyOf(response) as Record<string, unknown>, lines };
  }

  /** What was changed, in order; containers by their service. */
  function deeds(services: Map<string, string>): string[] {
    return sandbox.ledger
      .filter(({ method, path }) => method !== 'GET' && !path.startsWith('/api/auth'))
      .map(({ method, path }) => {
        const [, id = '', action = ''] = /\/containers\/(\w+)(?:\/(\w+))?$/.exec(path) ?? [];
        if (id !== '') return `${method === 'DELETE' ? 'remove' : action} ${services.get(id)}`;
        return path.split('/').at(-1) ?? '';
      });
  }

  test.each(table.map((item) => [item.title, item] as const))('%s', async (_, { stack, deeds: expected, answer }) => {
    addStack(sandbox.world, { name: 'app', file, ...stack });
    const services = new Map(sandbox.world.containers.map(({ id, service }) => [id, service]));
    const { body, lines } = await send({ service: 'app' });
    expect(body).toMatchObject(answer);
    expect(deeds(services)).toEqual(expected);
    expect(JSON.stringify(body)).not.toContain('secret');
    expect(lines.join()).not.toContain('POSTGRES_PASSWORD');
    expect(sandbox.ledger.filter(({ method }) => method === 'PUT')).toEqual([]);
  });

  test('reaches health from every state that was mended, and then needs nothing', async () => {
    addStack(sandbox.world, { name: 'app', file, status: 1, containers: { web: killed, db: old('exited') } });
    expect((await send({ service: 'app', wait: true })).body).toMatchObject({ details: { status: 'healthy' } });
    const before = sandbox.ledger.filter(({ method }) => method === 'POST').length;
    expect((await send({ service: 'app' })).body).toMatchObject(already);
    expect(sandbox.ledger.filter(({ method }) => method === 'POST')).toHaveLength(before);
  });

  test('containers that Portainer did not deploy are started one by one, by name and by URL', async () => {
    const labelled = file.replace('  web:\n', '  web:\n    labels: { spot-start.host: out.example }\n');
    addExternal(sandbox.world, { name: 'outside', file: labelled, containers: { web: killed, db: killed } });
    const services = new Map(sandbox.world.containers.map(({ id, service }) => [id, service]));
    expect((await send({ referral_url: 'https://out.example/' })).body).toMatchObject({
      success: true,
      action: 'start',
      stack_id: null,
      details: { service: 'outside', stack_id: null },
    });
    expect(deeds(services)).toEqual(['start db', 'start web']);
  });

  test('a failed start tells what it left, in the answer and to the next caller', async () => {
    const stack = addStack(sandbox.world, { name: 'app', file });
    stack.startError = 'failed to resolve reference "registry.internal/secret": pull access denied';
    const { status, body, lines } = await send({ service: 'app' });
    expect(status).toBe(502);
    expect(body).toMatchObject({
      success: false,
      code: 'start_failed',
      message: expect.stringMatching(/^Service app could not be started: an image could not be pulled; its containers/),
      containers: [{ service: 'db' }, { service: 'migrate' }, { service: 'web' }],
    });
    expect(JSON.stringify(body)).not.toContain('registry.internal');
    expect(lines.join()).toContain('registry.internal');
    expect((await send({ service: 'app', do: 'status' })).body).toMatchObject({
      last_failure: expect.stringContaining('an image could not be pulled'),
      details: { status: 'stopped' },
    });
    delete stack.startError;
    expect((await send({ service: 'app' })).body).toMatchObject({ success: true, action: 'start' });
    expect((await send({ service: 'app', do: 'status' })).body).not.toHaveProperty('last_failure');
  });

  test('a failed start after a stop says that the service is down', async () => {
    const stack = addStack(sandbox.world, { name: 'app', file, status: 1, containers: { db: null } });
    stack.startError = 'no space left on device';
    expect(await send({ service: 'app' })).toMatchObject({
      status: 502,
      body: {
        code: 'start_failed_after_stop',
        message: expect.stringMatching(/the disk of its host is full.* It was stopped to be started anew, and is down/),
      },
    });
  });

  test('a Swarm stack is started by the stack, and its single services are not repaired', async () => {
    const endpoint = sandbox.world.endpoints[0];
    Object.assign(endpoint ?? {}, { swarmId: 'swarm-1' });
    const stack = addStack(sandbox.world, { name: 'Cluster', type: 1, file: 'services: { web: { image: "app:1" } }' });
    expect((await send({ service: 'cluster', wait: true })).body).toMatchObject({
      message: 'Service Cluster successfully started',
      details: { status: 'healthy' },
    });
    expect((await send({ service: 'cluster' })).body).toMatchObject(already);
    const [service] = sandbox.world.services.filter(({ namespace }) => namespace === stack.name);
    Object.assign(service ?? {}, { rejected: 'No such image', deployedAt: Date.now() - hour });
    expect(await send({ service: 'cluster' })).toMatchObject({
      status: 422,
      body: { code: 'unsupported_stack', message: expect.stringContaining('Cluster_web runs 0 of 1') },
    });
    expect(sandbox.counts.starts).toEqual({ [stack.id]: 1 });
  });

  test('an asynchronous edge agent is refused clearly, without a call to its Docker', async () => {
    sandbox.world.endpoints.push({
      id: 30,
      name: 'edge',
      url: '',
      type: 4,
      down: false,
      edge: { asyncMode: true },
      docker: '29.1.0',
    });
    addStack(sandbox.world, { name: 'far', endpointId: 30, file });
    expect(await send({ service: 'far' })).toMatchObject({
      status: 422,
      body: { code: 'unsupported_environment', message: expect.stringContaining('asynchronous edge agent') },
    });
    expect(sandbox.ledger.filter(({ path }) => path.startsWith('/api/endpoints/30/docker'))).toEqual([]);
  });
});

test('a deployment of 2.4x that goes on is waited for, and a service that it brought up is left alone', async () => {
  const sandbox = await startPortainerSandbox({ profile: 'new', startMs: 15, healthyAfterMs: 50 });
  try {
    const stack = addStack(sandbox.world, { name: 'app', file, status: 3 });
    const handler = create({
      AUTH: 'none',
      SECRET_MOUNT_PATH: '/nonexistent',
      PORTAINER_API_URL: sandbox.url,
      PORTAINER_API_KEY: sandbox.apiKey,
    });
    const { event, context } = makeCall({ method: 'POST', body: '{"service": "app"}' });
    const answering = handler(event, context);
    await expect
      .poll(() => sandbox.ledger.filter(({ path }) => path.endsWith(`/stacks/${stack.id}`)).length)
      .toBeGreaterThan(0);
    sandbox.world.stacks.splice(sandbox.world.stacks.indexOf(stack), 1);
    addStack(sandbox.world, { name: 'app', id: stack.id, file, status: 1, containers: {} });
    expect(bodyOf(await answering)).toMatchObject({ success: true, action: 'none', details: { status: 'healthy' } });
    expect(sandbox.counts.starts).toEqual({});
  } finally {
    await sandbox.close();
  }
});
