import { PGlite } from '@electric-sql/pglite';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { settings } from '../../functions/spot-start-service/config.ts';
import { createClient, createFunction } from '../../functions/spot-start-service/wiring.ts';
import { addStack } from '../../sandbox/portainer/add.ts';
import { type PortainerSandbox, startPortainerSandbox } from '../../sandbox/portainer.ts';
import { loadSettings } from '../../shared/config/settings.ts';
import type { Handler } from '../../shared/http/function.ts';
import { createPostgresEngine } from '../../shared/store/postgres.ts';
import { createStore, type Store } from '../../shared/store/store.ts';
import { bodyOf, makeCall } from '../support/call.ts';

const database = new PGlite();
beforeAll(() => database.waitReady, 60_000);
afterAll(() => database.close());

// Each call is another replica: another store over the same rows.
const openShared = (): Store =>
  createStore(
    createPostgresEngine(async () => ({
      query: (text, params) => database.query<Record<string, unknown>>(text, params),
      close: async () => undefined,
    })),
    { name: 'spot-start-service' },
  );

let sandbox: PortainerSandbox;

function connect(env: Record<string, string> = {}, store?: Store): Handler {
  const config = loadSettings(settings, {
    AUTH: 'none',
    SECRET_MOUNT_PATH: '/nonexistent',
    PORTAINER_API_URL: sandbox.url,
    ...sandbox.credentials,
    START_TIMEOUT_MS: '2000',
    DEADLINE_MS: '8000',
    ...env,
  });
  return createFunction(config, { portainer: createClient(config), store });
}

async function send(handler: Handler, body: object) {
  const { event, context } = makeCall({ method: 'POST', body: JSON.stringify(body) });
  const response = await handler(event, context);
  return { status: response.status, body: bodyOf(response) as Record<string, unknown> };
}

const file = 'services: { web: { image: "app:1", restart: always, healthcheck: { test: ["CMD", "true"] } } }';

describe.each(['old', 'new'])('with a Portainer of the %s family', (profile) => {
  beforeEach(async () => {
    sandbox = await startPortainerSandbox({ profile, startMs: 120, healthyAfterMs: 80 });
  });
  afterEach(() => sandbox.close());

  test('calls for one stack make one start, and all hear the truth', async () => {
    const handler = connect();
    const answers = await Promise.all(Array.from({ length: 25 }, () => send(handler, { service: 'nextcloud' })));
    for (const { status, body } of answers) {
      // Who came after the others' start had returned hears that it is there already.
      expect({ status, message: body.message }).toEqual({
        status: 200,
        message: expect.stringMatching(/^Service nextcloud (successfully started|is already (starting|running))/),
      });
    }
    expect(sandbox.counts.starts).toEqual({ 80: 1 });
    expect(sandbox.counts.refusedStarts).toEqual({});
    expect(sandbox.counts.logins).toMatchObject({ given: 1 });
  });

  test('three replicas with a store make one start by its lease, without a refusal', async () => {
    const replicas = [1, 2, 3].map(() => connect({}, openShared()));
    const answers = await Promise.all(replicas.map((handler) => send(handler, { service: 'nextcloud', wait: true })));
    expect(answers.map(({ status, body }) => [status, (body.details as { status: string }).status])).toEqual(
      replicas.map(() => [200, 'healthy']),
    );
    expect(sandbox.counts.starts).toEqual({ 80: 1 });
    expect(sandbox.counts.refusedStarts).toEqual({});
  });

  test('a stop and start by three replicas with a store happens once', async () => {
    const stack = addStack(sandbox.world, { name: 'app', file, status: 1 });
    const replicas = [1, 2, 3].map(() => connect({}, openShared()));
    const answers = await Promise.all(replicas.map((handler) => send(handler, { service: 'app', wait: true })));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(sandbox.counts.stops).toEqual({ [stack.id]: 1 });
    expect(sandbox.counts.starts).toEqual({ [stack.id]: 1 });
  });

  test('three replicas without a store are held apart by Portainer’s refusals, and all hear the truth', async () => {
    const replicas = [1, 2, 3].map(() => connect());
    const answers = await Promise.all(replicas.map((handler) => send(handler, { service: 'nextcloud', wait: true })));
    for (const { status, body } of answers) {
      expect({ status, details: body.details }).toMatchObject({ status: 200, details: { status: 'healthy' } });
    }
    expect(sandbox.world.containers.filter(({ project }) => project === 'nextcloud')).toHaveLength(2);
    expect(sandbox.counts.composeUps).toEqual({ 80: 1 });
  });

  test('a start whose answer is lost is watched and not sent again', async () => {
    sandbox.faults.push({ kind: 'lost', path: '/stacks/80/start$', times: 1 });
    expect(await send(connect(), { service: 'nextcloud', wait: true })).toMatchObject({
      status: 200,
      body: { action: 'start', details: { status: 'healthy' } },
    });
    expect(sandbox.counts.starts).toEqual({ 80: 1 });
  });

  test('a start that never arrived is sent again after a silence', async () => {
    sandbox.faults.push({ kind: 'reset', path: '/stacks/80/start$', times: 1 });
    const handler = connect({ START_TIMEOUT_MS: '400' });
    expect(await send(handler, { service: 'nextcloud' })).toMatchObject({ status: 200, body: { action: 'start' } });
    expect(sandbox.counts.starts).toEqual({ 80: 1 });
  });

  test('a start that outlasts its deadline is watched to its end', async () => {
    sandbox.world.stacks.find(({ id }) => id === 80)!.pullMs = 1_500;
    const handler = connect({ START_TIMEOUT_MS: '200' });
    expect(await send(handler, { service: 'nextcloud' })).toMatchObject({ status: 200, body: { action: 'start' } });
    expect(sandbox.counts.starts).toEqual({ 80: 1 });
  });

  test('a caller who leaves does not end a start, and the next one shares it', async () => {
    sandbox.world.stacks.find(({ id }) => id === 80)!.pullMs = 400;
    const handler = connect();
    const leaving = new AbortController();
    const { event, context } = makeCall({ method: 'POST', body: '{"service": "nextcloud"}', signal: leaving.signal });
    const left = handler(event, context);
    await expect.poll(() => sandbox.counts.starts[80]).toBe(1);
    leaving.abort();
    expect((await left).status).toBe(499);
    expect(await send(handler, { service: 'nextcloud' })).toMatchObject({ status: 200, body: { action: 'start' } });
    expect(sandbox.counts.starts).toEqual({ 80: 1 });
  });

  test('a restart of Portainer in the middle of a start ends with the service up', async () => {
    sandbox.world.stacks.find(({ id }) => id === 80)!.pullMs = 500;
    const handler = connect({ START_TIMEOUT_MS: '400', DEADLINE_MS: '20000' });
    const answering = send(handler, { service: 'nextcloud', wait: true });
    await expect.poll(() => sandbox.counts.starts[80]).toBe(1);
    sandbox.restart(300);
    expect(await answering).toMatchObject({ status: 200, body: { details: { status: 'healthy' } } });
    // What the restart ended had to be begun anew; nothing else was.
    expect(sandbox.counts.starts[80]).toBe(1 + (sandbox.counts.lostStarts[80] ?? 0));
    expect(sandbox.counts.logins.given).toBeLessThanOrEqual(3);
  }, 30_000);

  test('a ban ends in an answer that says so, and in no more logins', async () => {
    sandbox.ban();
    const handler = connect();
    for (let i = 0; i < 5; i++) {
      expect(await send(handler, { service: 'n8n' })).toMatchObject({
        status: 502,
        body: { message: expect.stringContaining('a portainer-api-key needs none') },
      });
    }
    expect(sandbox.counts.logins).toEqual({ given: 0, refused: 0, banned: 1 });
  });

  test('the end of the process waits for a start between stop and start', async () => {
    const stack = addStack(sandbox.world, { name: 'app', file, status: 1 });
    const handler = connect();
    expect((await send(handler, { service: 'app', wait: 0 })).status).toBe(202);
    await handler.close?.();
    expect(sandbox.counts.starts).toEqual({ [stack.id]: 1 });
    expect(sandbox.world.containers.some(({ project, state }) => project === 'app' && state === 'running')).toBe(true);
  });
});

test('remembers in the store under which host a service ran, for a replica that never saw it run', async () => {
  sandbox = await startPortainerSandbox();
  try {
    const stack = addStack(sandbox.world, { name: 'repository', file, status: 1, containers: {} });
    Object.assign(sandbox.world.containers.at(-1)?.labels ?? {}, { 'spot-start.host': 'git.example' });
    const wanted = { referral_url: 'https://git.example', do: 'status' };
    expect(await send(connect({}, openShared()), wanted)).toMatchObject({ status: 200 });
    sandbox.world.containers.pop();
    stack.status = 2;
    expect(await send(connect({}, openShared()), wanted)).toMatchObject({
      status: 200,
      body: { details: { service: 'repository', status: 'stopped' } },
    });
    expect(await send(connect(), wanted)).toMatchObject({ status: 404 });
  } finally {
    await sandbox.close();
  }
});
