import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { settings } from '../../functions/spot-start-service/config.ts';
import { createClient, createFunction } from '../../functions/spot-start-service/wiring.ts';
import { addStack } from '../../sandbox/portainer/add.ts';
import { type PortainerSandbox, startPortainerSandbox } from '../../sandbox/portainer.ts';
import { loadSettings } from '../../shared/config/settings.ts';
import type { Handler } from '../../shared/http/function.ts';
import { bodyOf, makeCall } from '../support/call.ts';

let sandbox: PortainerSandbox;

function connect(env: Record<string, string> = {}): Handler {
  const config = loadSettings(settings, {
    AUTH: 'none',
    SECRET_MOUNT_PATH: '/nonexistent',
    PORTAINER_API_URL: sandbox.url,
    PORTAINER_API_KEY: sandbox.apiKey,
    SPOT_START_ALLOW_STOP: 'true',
    START_TIMEOUT_MS: '2000',
    DEADLINE_MS: '8000',
    ...env,
  });
  return createFunction(config, { portainer: createClient(config) });
}

async function send(handler: Handler, body: object) {
  const { event, context } = makeCall({ method: 'POST', body: JSON.stringify(body) });
  const response = await handler(event, context);
  return { status: response.status, body: bodyOf(response) as Record<string, unknown> };
}

const file = `services:
  web: { image: "app:1", restart: always, depends_on: [db] }
  db: { image: "postgres:17", restart: always }
`;
const containersOf = (project: string) => sandbox.world.containers.filter((item) => item.project === project);

describe.each(['old', 'new'])('with a Portainer of the %s family', (profile) => {
  beforeEach(async () => {
    sandbox = await startPortainerSandbox({ profile, startMs: 60, healthyAfterMs: 50 });
  });
  afterEach(() => sandbox.close());

  test('an inactive stack of which one service runs and another is missing is made anew', async () => {
    const stack = addStack(sandbox.world, { name: 'app', file, status: 2, containers: { db: null } });
    expect(await send(connect(), { service: 'app' })).toMatchObject({
      status: 200,
      body: { action: 'restart', details: { status: 'healthy' } },
    });
    expect(sandbox.counts.starts).toEqual({ [stack.id]: 1 });
    expect(containersOf('app').map(({ state }) => state)).toEqual(['running', 'running']);
  });

  test('a paused leftover beside a missing service is removed too', async () => {
    addStack(sandbox.world, { name: 'app', file, status: 2, containers: { db: null, web: { state: 'paused' } } });
    expect(await send(connect(), { service: 'app' })).toMatchObject({
      status: 200,
      body: { details: { status: 'healthy' } },
    });
  });

  test('do: stop stops the containers of a stack that Portainer takes for stopped', async () => {
    addStack(sandbox.world, { name: 'app', file, status: 2, containers: {} });
    expect(await send(connect(), { service: 'app', do: 'stop' })).toMatchObject({
      status: 200,
      body: { action: 'stop', details: { status: 'stopped' } },
    });
    expect(containersOf('app').every(({ state }) => state === 'exited')).toBe(true);
  });

  test('the reason of a failed start is found behind the progress that compose tells first', async () => {
    const stack = addStack(sandbox.world, { name: 'app', file });
    const progress = Array.from({ length: 40 }, (_, at) => ` Container app-${at} Creating`).join('');
    stack.startError = `failed to deploy a stack:${progress} Error response from daemon: port is already allocated`;
    expect(await send(connect(), { service: 'app' })).toMatchObject({
      status: 502,
      body: { code: 'start_failed', message: expect.stringContaining('a port that it wants is taken on its host') },
    });
  });

  test('a stack that was deleted and deployed again under its name is found under its new id', async () => {
    const old = addStack(sandbox.world, { name: 'app', file });
    const handler = connect();
    expect((await send(handler, { service: 'app', do: 'status' })).status).toBe(200);
    sandbox.world.stacks = sandbox.world.stacks.filter((item) => item !== old);
    const fresh = addStack(sandbox.world, { name: 'app', file });
    expect(await send(handler, { service: 'app' })).toMatchObject({
      status: 200,
      body: { action: 'start', stack_id: String(fresh.id) },
    });
  });

  test('a stack that was deleted is a 404', async () => {
    const old = addStack(sandbox.world, { name: 'app', file });
    const handler = connect();
    expect((await send(handler, { service: 'app', do: 'status' })).status).toBe(200);
    sandbox.world.stacks = sandbox.world.stacks.filter((item) => item !== old);
    for (const what of ['start', 'stop', 'restart'])
      expect(await send(handler, { service: 'app', do: what })).toMatchObject({
        status: 404,
        body: { code: 'service_not_found' },
      });
  });

  test('replicas without a store that stop and start the same broken stack leave it up, and none hangs', async () => {
    const handlers = [connect(), connect()];
    // The second one comes during the look, the stop, the start of the first one, and after it.
    const delays = [0, 30, 80, 130, 180, 240];
    const stacks = delays.map((delay) =>
      addStack(sandbox.world, { name: `app-${delay}`, file, status: 1, containers: { db: null } }),
    );
    // An index that is warm, so that only the delays count.
    await Promise.all(handlers.map((handler) => send(handler, { service: 'n8n', do: 'status' })));
    const answers = await Promise.all(
      stacks.flatMap(({ name }, at) =>
        handlers.map(async (handler, replica) => {
          await new Promise((resolve) => setTimeout(resolve, replica * (delays[at] as number)));
          return send(handler, { service: name, wait: true });
        }),
      ),
    );
    for (const { status, body } of answers) {
      expect({ status, details: body.details }).toMatchObject({ status: 200, details: { status: 'healthy' } });
    }
    for (const { id, name } of stacks) {
      expect(containersOf(name).map(({ state }) => state)).toEqual(['running', 'running']);
      // Portainer takes the stops and starts of both where they come at one moment: the store’s lease is for that.
      expect(sandbox.counts.composeUps[id]).toBeLessThanOrEqual(2);
    }
  }, 30_000);
});
