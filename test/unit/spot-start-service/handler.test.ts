import { expect, test } from 'vitest';
import { settings } from '../../../functions/spot-start-service/config.ts';
import { createFunction } from '../../../functions/spot-start-service/wiring.ts';
import type { PortainerClient, PortainerContainer, PortainerStack } from '../../../shared/clients/portainer.ts';
import { loadSettings } from '../../../shared/config/settings.ts';
import { UpstreamError } from '../../../shared/errors.ts';
import { bodyOf, makeCall } from '../../support/call.ts';

const config = loadSettings(settings, {
  AUTH: 'none',
  SECRET_MOUNT_PATH: '/nonexistent',
  PORTAINER_API_URL: 'http://portainer.test',
  START_TIMEOUT_MS: '2000',
  DEADLINE_MS: '10000',
});

const running: PortainerContainer = {
  id: 'c1',
  name: 'cloud-app-1',
  state: 'running',
  health: 'healthy',
  exitCode: undefined,
  createdAtMs: 0,
  labels: { 'com.docker.compose.project': 'cloud', 'com.docker.compose.service': 'app' },
  isPortainer: false,
};

/** One inactive stack on one endpoint; a clock that only sleeping moves. */
function arrange(overrides: Partial<PortainerClient> = {}) {
  const stack: PortainerStack = {
    id: 80,
    name: 'cloud',
    type: 'compose',
    endpointId: 10,
    status: 'inactive',
    env: [],
    updatedAt: 0,
  };
  const done: string[] = [];
  const unexpected = () => Promise.reject(new Error('not expected'));
  const client: PortainerClient = {
    listEndpoints: async () => [{ id: 10, name: 'prod-vm-1' }],
    listStacks: async () => [stack],
    getStack: async () => stack,
    stackFile: async () => 'services: { app: {} }',
    listContainers: async () => [],
    inspectContainer: unexpected,
    startStack: async () => {
      done.push('start');
      return { outcome: 'done' };
    },
    stopStack: unexpected,
    startContainer: unexpected,
    restartContainer: unexpected,
    unpauseContainer: unexpected,
    removeContainer: unexpected,
    ...overrides,
  };
  let nowMs = 1_000_000;
  const time = {
    now: () => nowMs,
    sleep: async (ms: number) => {
      nowMs += ms;
    },
  };
  const handler = createFunction(config, client, time);
  return {
    done,
    elapsedMs: () => nowMs - 1_000_000,
    async send(body: object = { service: 'cloud' }) {
      const { event, context } = makeCall({ method: 'POST', body: JSON.stringify(body) });
      const response = await handler(event, context);
      return { status: response.status, headers: response.headers, body: bodyOf(response) as Record<string, unknown> };
    },
  };
}

const timeout = () => Promise.reject(new UpstreamError('Portainer', 'timeout', 'the deadline passed'));

test('starts the stack on its own endpoint and answers without a status that nobody knows', async () => {
  const { send, done } = arrange();
  expect((await send()).body).toEqual({
    success: true,
    message: 'Service cloud successfully started',
    details: { service: 'cloud', endpoint: 'prod-vm-1', stack_id: '80' },
    action: 'start',
    endpoint_id: '10',
    stack_id: '80',
  });
  expect(done).toEqual(['start']);
});

test('watches the containers after a start that outlasted its deadline', async () => {
  let looks = 0;
  const { send, elapsedMs } = arrange({
    startStack: timeout,
    listContainers: async () => (++looks > 4 ? [running] : []),
  });
  expect((await send()).body).toMatchObject({ success: true, details: { status: 'healthy' } });
  expect(elapsedMs()).toBe(3_000);
});

test('gives up watching at the deadline and says that the start goes on', async () => {
  const { send, elapsedMs } = arrange({ startStack: timeout });
  expect(await send()).toMatchObject({
    status: 504,
    headers: { 'Retry-After': '10' },
    body: { success: false, code: 'still_starting' },
  });
  expect(elapsedMs()).toBeLessThanOrEqual(10_000);
});

test('does not turn a done start into an error when the list after it fails', async () => {
  let looks = 0;
  const { send } = arrange({ listContainers: async () => (++looks > 1 ? timeout() : []) });
  expect(await send()).toMatchObject({ status: 200, body: { message: 'Service cloud successfully started' } });
});

test('starts after a stop that outlasted its deadline, once the containers are gone', async () => {
  const done: string[] = [];
  let looks = 0;
  const { send } = arrange({
    getStack: async () => ({
      id: 80,
      name: 'cloud',
      type: 'compose',
      endpointId: 10,
      status: 'active',
      env: [],
      updatedAt: 0,
    }),
    listContainers: async () => (++looks < 4 ? [{ ...running, state: 'dead' }] : []),
    stopStack: () => {
      done.push('stop');
      return timeout();
    },
    startStack: async () => {
      done.push(`start after ${looks} looks`);
      return { outcome: 'done' };
    },
  });
  expect((await send()).status).toBe(200);
  expect(done).toEqual(['stop', 'start after 4 looks']);
});

test.each([
  ['timeout', 504, 'upstream_timeout'],
  ['network', 502, 'upstream_network'],
  ['invalid_response', 502, 'upstream_invalid_response'],
] as const)('answers a %s of Portainer with %i and hides its detail', async (failure, status, code) => {
  const { send } = arrange({
    listStacks: () => Promise.reject(new UpstreamError('Portainer', failure, 'http://10.0.0.5:9000 secret')),
  });
  const answer = await send();
  expect(answer).toMatchObject({ status, body: { success: false, code } });
  expect(JSON.stringify(answer)).not.toMatch(/10\.0\.0\.5|secret/);
});

test('skips a stack whose endpoint is gone', async () => {
  const { send } = arrange({ listEndpoints: async () => [] });
  expect((await send()).status).toBe(404);
});

test('leaves containers that Portainer did not deploy alone, and says so', async () => {
  const external = { listStacks: async () => [], listContainers: async () => [running] };
  expect((await arrange(external).send()).body).toMatchObject({ action: 'none', stack_id: null });
  const stopped = { ...external, listContainers: async () => [{ ...running, state: 'exited', exitCode: 1 }] };
  expect(await arrange(stopped).send()).toMatchObject({ status: 409, body: { code: 'external_stack' } });
});
