// Loaded before the first call: a virtual clock does not wait for a module.
import 'yaml';
import { expect, test } from 'vitest';
import { settings } from '../../../functions/spot-start-service/config.ts';
import { createFunction } from '../../../functions/spot-start-service/wiring.ts';
import type { PortainerClient, PortainerContainer, PortainerStack } from '../../../shared/clients/portainer.ts';
import { loadSettings } from '../../../shared/config/settings.ts';
import { UpstreamError } from '../../../shared/errors.ts';
import { bodyOf, makeCall } from '../../support/call.ts';
import { createVirtualTime } from '../../support/virtual-time.ts';

const running: PortainerContainer = {
  id: 'c1',
  name: 'cloud-app-1',
  image: 'nextcloud:31',
  state: 'running',
  health: 'healthy',
  exitCode: undefined,
  createdAtMs: 0,
  isYoung: false,
  labels: { 'com.docker.compose.project': 'cloud', 'com.docker.compose.service': 'app' },
  hostPorts: [],
  onHostNetwork: false,
  isPortainer: false,
};

const inactive: PortainerStack = {
  id: 80,
  name: 'cloud',
  type: 'compose',
  endpointId: 10,
  status: 'inactive',
  deploymentError: undefined,
  env: [],
  updatedAt: 0,
};

interface World {
  stack: PortainerStack;
  containers: PortainerContainer[];
}

/** One inactive stack on one endpoint, and a clock that only waiting moves. */
function arrange(overrides: (world: World) => Partial<PortainerClient> = () => ({}), env: NodeJS.ProcessEnv = {}) {
  const world: World = { stack: inactive, containers: [] };
  const done: string[] = [];
  const time = createVirtualTime();
  const unexpected = () => Promise.reject(new Error('not expected'));
  const base: PortainerClient = {
    version: async () => '2.45.0',
    listEndpoints: async () => [{ id: 10, name: 'prod-vm-1', kind: 'docker', up: true }],
    listStacks: async () => [world.stack],
    getStack: async () => world.stack,
    stackFile: async () => 'services: { app: {} }',
    listContainers: async () => world.containers,
    inspectContainer: unexpected,
    listServices: unexpected,
    async startStack() {
      world.containers = [running];
      world.stack = { ...inactive, status: 'active' };
      return { outcome: 'done' };
    },
    stopStack: unexpected,
    changeContainer: unexpected,
  };
  const client: PortainerClient = { ...base, ...overrides(world) };
  const told: PortainerClient = {
    ...client,
    startStack(...call) {
      done.push('start');
      return client.startStack(...call);
    },
    stopStack(...call) {
      done.push('stop');
      return client.stopStack(...call);
    },
    changeContainer(...call) {
      done.push(`${call[2]} ${call[1]}`);
      return client.changeContainer(...call);
    },
  };
  const config = loadSettings(settings, {
    AUTH: 'none',
    SECRET_MOUNT_PATH: '/nonexistent',
    PORTAINER_API_URL: 'http://portainer.test',
    PORTAINER_API_KEY: 'key',
    START_TIMEOUT_MS: '2000',
    DEADLINE_MS: '10000',
    ...env,
  });
  const handler = createFunction(config, { portainer: told, time });
  const lines: string[] = [];
  return {
    lines,
    world,
    done,
    time,
    async send(fields: object = {}) {
      const call = makeCall({ method: 'POST', body: JSON.stringify({ service: 'cloud', ...fields }) });
      const response = await handler(call.event, call.context);
      lines.push(...call.lines);
      return { status: response.status, headers: response.headers, body: bodyOf(response) as Record<string, unknown> };
    },
  };
}

const fail = (failure: 'timeout' | 'network' | 'invalid_response', detail = 'the deadline passed') =>
  Promise.reject(new UpstreamError('Portainer', failure, detail));
const refuse = (status: number, detail: string) =>
  Promise.reject(new UpstreamError('Portainer', 'status', detail, { status }));

test('starts the stack on its own endpoint and answers as the predecessor did', async () => {
  const { send, done } = arrange();
  expect((await send()).body).toEqual({
    success: true,
    message: 'Service cloud successfully started',
    details: { service: 'cloud', endpoint: 'prod-vm-1', stack_id: '80', status: 'healthy' },
    action: 'start',
    endpoint_id: '10',
    stack_id: '80',
  });
  expect(done).toEqual(['start']);
});

/** Containers that come up by themselves, as after a start of which we did not see the end. */
const comesUp = (world: World, time: { sleep: (ms: number) => Promise<void> }, afterMs: number) =>
  void time.sleep(afterMs).then(() => {
    world.containers = [running];
    world.stack = { ...inactive, status: 'active' };
  });

test.each([
  ['a time-out', () => fail('timeout')],
  ['a lost connection', () => fail('network', 'ECONNRESET socket hang up')],
  ['the 504 of a proxy before Portainer', () => refuse(504, 'Gateway Time-out')],
])('watches the containers after %s of a start, and does not start again', async (_, startStack) => {
  const { send, done, world, time } = arrange(() => ({ startStack }));
  comesUp(world, time, 3_500);
  expect((await send()).body).toMatchObject({
    message: 'Service cloud successfully started',
    details: { status: 'healthy' },
  });
  expect(done).toEqual(['start']);
});

test('sends a start again that was lost and left no trace', async () => {
  let calls = 0;
  const { send, done } = arrange((world) => ({
    startStack: async () => {
      if (++calls === 1) return fail('network', 'ECONNRESET socket hang up');
      world.containers = [running];
      return { outcome: 'done' };
    },
  }));
  expect((await send()).status).toBe(200);
  expect(done).toEqual(['start', 'start']);
});

test('never sends a start again that a proxy gave up with 504: Portainer has it, and may pull for minutes', async () => {
  const { send, done, world, time } = arrange(() => ({ startStack: () => refuse(504, 'Gateway Time-out') }));
  comesUp(world, time, 600_000);
  expect((await send()).status).toBe(202);
  await time.sleep(610_000);
  expect(await send()).toMatchObject({ body: { action: 'none', details: { status: 'healthy' } } });
  expect(done).toEqual(['start']);
});

const conflict = (id: string) =>
  `Error response from daemon: Conflict. The container name "/cloud-app-1" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`;
const ownId = 'c0ffee'.repeat(10);

test('takes a container name that its own stack holds for a start side by side, and watches that one', async () => {
  const { send, done, world, time } = arrange((its) => ({
    startStack() {
      its.containers = [{ ...running, id: ownId, state: 'created', health: 'none', createdAtMs: time.now() }];
      comesUp(its, time, 3_500);
      return refuse(500, conflict(ownId));
    },
  }));
  expect(await send()).toMatchObject({ status: 200, body: { action: 'start', details: { status: 'healthy' } } });
  expect(world.stack.status).toBe('active');
  expect(done).toEqual(['start']);
});

test('tells of a container name that a stranger holds', async () => {
  const { send, done } = arrange(() => ({ startStack: () => refuse(500, conflict('f00d'.repeat(16))) }));
  expect(await send()).toMatchObject({
    status: 502,
    body: { code: 'start_failed', message: expect.stringContaining('a container name that it wants is taken') },
  });
  expect(done).toEqual(['start']);
});

test('answers 202 at the deadline with each container, goes on, and lets later calls share the start', async () => {
  const created = { ...running, state: 'running', health: 'starting' as const };
  const { send, done, world, time } = arrange((its) => ({
    startStack: () => {
      its.containers = [created];
      return fail('timeout');
    },
  }));
  const first = await send();
  expect(first).toMatchObject({
    status: 202,
    headers: { 'Retry-After': '5' },
    body: {
      success: true,
      message: 'Service cloud is starting',
      action: 'start',
      details: { status: 'starting' },
      containers: [{ name: 'cloud-app-1', service: 'app', state: 'running', health: 'starting', status: 'starting' }],
    },
  });
  expect(time.elapsedMs()).toBeLessThanOrEqual(10_000);
  comesUp(world, time, 1_000);
  expect(await send()).toMatchObject({ status: 200, body: { action: 'start', details: { status: 'healthy' } } });
  expect(done).toEqual(['start']);
});

test('wait=0 fires and answers at once', async () => {
  const { send, done, time } = arrange(() => ({ startStack: () => fail('timeout') }));
  expect(await send({ wait: 0 })).toMatchObject({
    status: 202,
    body: { message: 'Service cloud is starting', action: 'start', containers: [] },
  });
  expect(time.elapsedMs()).toBe(0);
  expect(done).toEqual(['start']);
});

test('wait=0 tells of a healthy service that it is healthy', async () => {
  const { send, world } = arrange();
  world.containers = [running];
  expect(await send({ wait: '0' })).toMatchObject({ status: 200, body: { action: 'none' } });
});

test.each([true, 'true', 60])('wait=%s waits until the service is healthy', async (wait) => {
  const { send, world, time } = arrange(
    (its) => ({
      startStack: async () => {
        its.containers = [{ ...running, health: 'starting' }];
        return { outcome: 'done' };
      },
    }),
    { DEADLINE_MS: '50000' },
  );
  comesUp(world, time, 20_000);
  expect(await send({ wait })).toMatchObject({ status: 200, body: { details: { status: 'healthy' } } });
  expect(time.elapsedMs()).toBeGreaterThanOrEqual(20_000);
});

test('wait=5 answers 202 when the service still starts after that', async () => {
  const { send, time } = arrange(
    (world) => ({
      startStack: async () => {
        world.containers = [{ ...running, health: 'starting' }];
        return { outcome: 'done' };
      },
    }),
    { DEADLINE_MS: '50000' },
  );
  expect(await send({ wait: 5 })).toMatchObject({ status: 202, body: { details: { status: 'starting' } } });
  expect(time.elapsedMs()).toBeLessThanOrEqual(5_000);
});

test('waiting for health that does not come is a failure that names the container', async () => {
  const { send } = arrange((world) => ({
    startStack: async () => {
      world.containers = [{ ...running, state: 'dead' }];
      return { outcome: 'done' };
    },
  }));
  expect(await send({ wait: true })).toMatchObject({
    status: 502,
    body: {
      success: false,
      code: 'not_healthy',
      message: 'Service cloud did not become healthy: cloud-app-1 is broken',
      containers: [{ name: 'cloud-app-1', status: 'broken' }],
    },
  });
});

test.each([['-1'], ['soon'], [-5]])('refuses wait=%s', async (wait) => {
  expect(await arrange().send({ wait })).toMatchObject({ status: 400, body: { code: 'invalid_body' } });
});

test('do=status changes nothing', async () => {
  const { send, done } = arrange();
  expect((await send({ do: 'status' })).body).toMatchObject({
    message: 'Service cloud is stopped',
    details: { status: 'stopped' },
    action: 'none',
    containers: [],
  });
  expect(done).toEqual([]);
});

test('dry_run says what would be done, step by step, and does nothing', async () => {
  const { send, done, world } = arrange();
  expect((await send({ dry_run: true })).body).toMatchObject({
    message: 'Service cloud would be started',
    action: 'start',
    dry_run: true,
    plan: ['start-stack'],
  });
  world.stack = { ...inactive, status: 'active' };
  world.containers = [{ ...running, state: 'paused' }];
  expect((await send({ dry_run: true })).body).toMatchObject({ action: 'restart', plan: ['unpause cloud-app-1'] });
  expect(done).toEqual([]);
});

test.each(['stop', 'restart'])('refuses do=%s unless SPOT_START_ALLOW_STOP is true', async (what) => {
  const { send, done } = arrange();
  expect(await send({ do: what })).toMatchObject({ status: 403, body: { code: 'stop_not_allowed' } });
  expect(done).toEqual([]);
});

test('do=stop stops by Portainer, and never what holds the reverse proxy', async () => {
  const { send, done, world } = arrange(
    (its) => ({
      stopStack: async () => {
        its.containers = [];
        its.stack = inactive;
        return { outcome: 'done' };
      },
    }),
    { SPOT_START_ALLOW_STOP: 'true' },
  );
  world.stack = { ...inactive, status: 'active' };
  world.containers = [{ ...running, hostPorts: [443] }];
  expect(await send({ do: 'stop' })).toMatchObject({ status: 409, body: { code: 'protected_stack' } });
  world.containers = [running];
  expect((await send({ do: 'stop' })).body).toMatchObject({
    message: 'Service cloud successfully stopped',
    action: 'stop',
    details: { status: 'stopped' },
  });
  expect(done).toEqual(['stop']);
});

test('do=restart restarts the containers and keeps them', async () => {
  const { send, done, world } = arrange(() => ({ changeContainer: async () => {} }), { SPOT_START_ALLOW_STOP: 'true' });
  world.stack = { ...inactive, status: 'active' };
  world.containers = [running];
  expect((await send({ do: 'restart' })).body).toMatchObject({ action: 'restart', details: { status: 'healthy' } });
  expect(done).toEqual(['restart c1']);
});

test('does not turn a done start into an error when the look after it fails', async () => {
  let started = false;
  const { send } = arrange(() => ({
    startStack: async () => {
      started = true;
      return { outcome: 'done' };
    },
    listContainers: async () => (started ? fail('timeout') : []),
  }));
  const { status, body } = await send();
  expect({ status, message: body.message }).toEqual({ status: 200, message: 'Service cloud successfully started' });
  expect(body.details).not.toHaveProperty('status');
});

test('starts after a stop that outlasted its deadline, once the containers are gone', async () => {
  const { send, done, world, time } = arrange(() => ({ stopStack: () => fail('timeout') }), { DEADLINE_MS: '30000' });
  world.stack = { ...inactive, status: 'active' };
  world.containers = [{ ...running, state: 'dead' }];
  void time.sleep(4_500).then(() => {
    world.containers = [];
    world.stack = inactive;
  });
  expect((await send()).status).toBe(200);
  expect(done).toEqual(['stop', 'start']);
  expect(time.elapsedMs()).toBeGreaterThanOrEqual(4_500);
});

test('says what a failed start left, and why, in words that are safe to show', async () => {
  const { send } = arrange((world) => ({
    startStack: () => {
      world.containers = [{ ...running, state: 'created', health: 'none', createdAtMs: 1_800_000_000_000 }];
      return refuse(500, 'Unable to start stack: pull access denied for registry.internal/secret-app');
    },
  }));
  const { status, body } = await send();
  expect({ status, body }).toMatchObject({
    status: 502,
    body: {
      success: false,
      code: 'start_failed',
      message: expect.stringMatching(/an image could not be pulled; its containers are now: 1 (created|starting)/),
      containers: [{ name: 'cloud-app-1', state: 'created' }],
    },
  });
  expect(JSON.stringify(body)).not.toContain('registry.internal');
});

test('repairs the leftovers of its own failed start at once, though they are young', async () => {
  const { send, done } = arrange((world) => ({
    startStack: () => {
      world.containers = [{ ...running, state: 'created', health: 'none', createdAtMs: 1_800_000_000_000 }];
      return refuse(500, 'port is already allocated');
    },
    changeContainer: async () => {
      world.containers = [running];
    },
  }));
  expect((await send()).status).toBe(502);
  expect((await send()).body).toMatchObject({ success: true, action: 'start' });
  expect(done).toEqual(['start', 'start c1']);
});

test.each([
  ['timeout', 504, 'upstream_timeout'],
  ['network', 502, 'upstream_network'],
  ['invalid_response', 502, 'upstream_invalid_response'],
] as const)('answers a %s of Portainer with %i and hides its detail', async (failure, status, code) => {
  const { send } = arrange(() => ({ listStacks: () => fail(failure, 'http://10.0.0.5:9000 secret') }));
  const answer = await send();
  expect(answer).toMatchObject({ status, body: { success: false, code } });
  expect(JSON.stringify(answer)).not.toMatch(/10\.0\.0\.5|secret/);
});

test('ends at the deadline, which counts from the arrival of the call, also while it still looks for the service', async () => {
  const { send, time } = arrange(() => ({ listStacks: () => new Promise(() => {}) }));
  expect(await send()).toMatchObject({ status: 504, body: { code: 'upstream_timeout' } });
  expect(time.elapsedMs()).toBe(10_000);
});

test('skips a stack whose endpoint is gone', async () => {
  const { send } = arrange(() => ({ listEndpoints: async () => [] }));
  expect((await send()).status).toBe(404);
});

test('mends containers that Portainer did not deploy one by one, and refuses what needs a new one', async () => {
  const external = arrange(() => ({ listStacks: async () => [], changeContainer: async () => {} }));
  external.world.containers = [running];
  expect((await external.send()).body).toMatchObject({ action: 'none', stack_id: null });
  external.world.containers = [{ ...running, state: 'exited', exitCode: 1 }];
  expect((await external.send()).body).toMatchObject({ action: 'start', stack_id: null });
  expect(external.done).toEqual(['start c1']);
  external.world.containers = [{ ...running, state: 'dead' }];
  expect(await external.send()).toMatchObject({ status: 409, body: { code: 'external_stack' } });
});

test('does not stop a stack for what a new container would not mend', async () => {
  const { send, done, world } = arrange(() => ({ changeContainer: () => refuse(500, 'port is already allocated') }));
  world.stack = { ...inactive, status: 'active' };
  world.containers = [{ ...running, state: 'exited', exitCode: 1 }];
  expect(await send()).toMatchObject({
    status: 502,
    body: {
      code: 'repair_failed',
      message: expect.stringContaining('a port that it wants is taken on its host'),
    },
  });
  expect(done).toEqual(['start c1']);
});

test('waits while Portainer deploys, and then decides', async () => {
  const { send, done, world, time } = arrange();
  world.stack = { ...inactive, status: 'deploying' };
  void time.sleep(3_000).then(() => {
    world.stack = inactive;
  });
  expect(await send()).toMatchObject({ status: 200, body: { action: 'start' } });
  expect(done).toEqual(['start']);
});

test('tells the state in Portainer’s word for a deployment that does not end in time', async () => {
  const { send, done, world } = arrange();
  world.stack = { ...inactive, status: 'deploying' };
  expect(await send()).toMatchObject({
    status: 202,
    body: { message: 'Service cloud is starting', details: { status: 'deploying' } },
  });
  expect(done).toEqual([]);
});

test('a stack in error is stopped and started, and one whose containers run is left alone', async () => {
  const { send, done, world } = arrange((its) => ({
    stopStack: async () => {
      its.stack = inactive;
      return { outcome: 'done' };
    },
  }));
  world.stack = { ...inactive, status: 'error', deploymentError: 'compose up operation failed: secret' };
  world.containers = [running];
  expect((await send()).body).toMatchObject({ action: 'none', details: { status: 'healthy' } });
  world.containers = [];
  expect((await send()).body).toMatchObject({ action: 'start' });
  expect(done).toEqual(['stop', 'start']);
});

test('logs why a start failed without the values of the stack’s variables', async () => {
  const { send, world, lines } = arrange(() => ({
    startStack: () => refuse(500, 'invalid interpolation: "hunter2-password" in services.app'),
  }));
  world.stack = { ...inactive, env: [{ name: 'DB_PASSWORD', value: 'hunter2-password' }] };
  expect(await send()).toMatchObject({ status: 502, body: { code: 'start_failed' } });
  expect(lines.join()).toContain('invalid interpolation');
  expect(lines.join()).not.toContain('hunter2');
});

test('names a bad URL and a missing credential in one refusal to start', () => {
  const env = { AUTH: 'none', SECRET_MOUNT_PATH: '/nonexistent', PORTAINER_API_URL: 'portainer.local' };
  expect(() => loadSettings(settings, { ...env, SPOT_START_HOSTS: 'x' })).toThrow(
    /PORTAINER_API_URL: .*\n.*SPOT_START_HOSTS: .*\n.*portainer-api-key: create this secret, or both/,
  );
});

test.each([
  ['https://user:pa55word@unknown.example/a', 'https://unknown.example/a'],
  ['user:pa55word@unknown.example', 'unknown.example'],
  ['//pa55word@unknown.example', '//unknown.example'],
  ['https://unknown.example/a?token=pa55word#pa55word', 'https://unknown.example/a'],
  ['https://unknown.example/@x', 'https://unknown.example/@x'],
])('neither shows nor logs what may be a secret in %s', async (referralUrl, shown) => {
  const { send, lines } = arrange();
  const { status, body } = await send({ referral_url: referralUrl });
  expect({ status, message: body.message }).toEqual({
    status: 404,
    message: `No service found for referral URL: ${shown}`,
  });
  expect(lines.join('') + JSON.stringify(body)).not.toContain('pa55word');
});

test('stops nothing that another replica has made anew since the look', async () => {
  let looks = 0;
  const dead = { ...running, id: 'dead', state: 'dead' };
  const { send, done, world } = arrange(() => ({
    listContainers: async () => [++looks < 3 ? dead : running],
  }));
  world.stack = { ...inactive, status: 'active' };
  // The index and the call's own look have seen the dead one.
  expect(await send()).toMatchObject({ status: 200, body: { details: { status: 'healthy' } } });
  expect({ looks: looks >= 3, done }).toEqual({ looks: true, done: [] });
});
