import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import create from '../../functions/spot-start-service/index.ts';
import { type PortainerSandbox, startPortainerSandbox } from '../../sandbox/portainer.ts';
import { ConfigError } from '../../shared/errors.ts';
import type { Handler } from '../../shared/http/function.ts';
import { bodyOf, makeCall } from '../support/call.ts';

let sandbox: PortainerSandbox;
let handler: Handler;

const connect = (env: Record<string, string> = {}) =>
  create({
    AUTH: 'none',
    SECRET_MOUNT_PATH: '/nonexistent',
    PORTAINER_API_URL: sandbox.url,
    ...sandbox.credentials,
    ...env,
  });

beforeEach(async () => {
  sandbox = await startPortainerSandbox({ startMs: 20, healthyAfterMs: 300 });
  handler = connect();
});
afterEach(() => sandbox.close());

async function send(body: unknown, method = 'POST') {
  const { event, context, lines } = makeCall({ method, body: typeof body === 'string' ? body : JSON.stringify(body) });
  const response = await handler(event, context);
  return { status: response.status, body: bodyOf(response) as Record<string, unknown>, lines };
}

const asked = (method: string, path: RegExp) =>
  sandbox.ledger.filter((entry) => entry.method === method && path.test(entry.path));
const containersOf = (project: string) => sandbox.world.containers.filter((item) => item.project === project);

describe('the contract', () => {
  test('starts a stopped stack', async () => {
    expect(await send({ service: 'nextcloud' })).toMatchObject({
      status: 200,
      body: {
        success: true,
        message: 'Service nextcloud successfully started',
        details: { service: 'nextcloud', endpoint: 'prod-vm-1', stack_id: '80', status: 'starting' },
        action: 'start',
        endpoint_id: '10',
        stack_id: '80',
      },
    });
    expect(asked('POST', /start/).map(({ path, query }) => path + query)).toEqual([
      '/api/stacks/80/start?endpointId=10',
    ]);
    expect(containersOf('nextcloud').map(({ state }) => state)).toEqual(['running', 'running']);
  });

  test('restarts only the unhealthy container of a stack', async () => {
    const jellyfin = containersOf('mediaservice').find(({ service }) => service === 'jellyfin');
    expect(await send({ service: 'mediaservice' })).toMatchObject({
      status: 200,
      body: {
        success: true,
        message: 'Service mediaservice successfully restarted',
        details: { service: 'mediaservice', endpoint: 'prod-vm-1', stack_id: '120' },
        action: 'restart',
      },
    });
    expect(asked('POST', /docker|stacks/).map(({ path }) => path)).toEqual([
      `/api/endpoints/10/docker/containers/${jellyfin?.id}/restart`,
    ]);
  });

  test('leaves a healthy stack with a completed job alone', async () => {
    const { body } = await send({ service: 'N8N' });
    expect(body).toEqual({
      success: true,
      message: 'Service n8n is already running and healthy',
      details: { service: 'n8n', endpoint: 'prod-vm-1', stack_id: '150', status: 'healthy' },
      action: 'none',
      endpoint_id: '10',
      stack_id: '150',
    });
    expect(asked('POST', /docker|stacks/)).toEqual([]);
  });

  test('finds a stack that has no containers by the host in its stack file', async () => {
    const { status, body } = await send({ referral_url: 'https://Example.server.local:8443/some/page?x=1' });
    expect({ status, message: body.message }).toEqual({
      status: 200,
      message: 'Service example-stack successfully started',
    });
  });

  test('fills the variables of the stack into the labels of its file', async () => {
    expect((await send({ referral_url: 'cloud.server.local' })).body.message).toBe(
      'Service nextcloud successfully started',
    );
  });

  test('lets the referral_url win over the service', async () => {
    const { body } = await send({ service: 'nextcloud', referral_url: 'https://n8n.server.local' });
    expect(body.details).toMatchObject({ service: 'n8n' });
    expect(asked('POST', /stacks/)).toEqual([]);
  });

  test('becomes healthy after a while, which the next call says', async () => {
    await send({ service: 'nextcloud' });
    await expect
      .poll(async () => (await send({ service: 'nextcloud' })).body.message, { timeout: 5_000, interval: 50 })
      .toBe('Service nextcloud is already running and healthy');
    expect(asked('POST', /stacks/)).toHaveLength(1);
  });

  test.each([
    ['', 400, 'invalid_json'],
    ['{', 400, 'invalid_json'],
    ['[]', 400, 'invalid_body'],
    ['{"service": 7}', 400, 'invalid_body'],
    ['{}', 400, 'service_required'],
    ['{"service": " "}', 400, 'service_required'],
    ['{"referral_url": "https://"}', 400, 'invalid_referral_url'],
    ['{"service": "nope"}', 404, 'service_not_found'],
    ['{"service": "!"}', 404, 'service_not_found'],
    ['{"referral_url": "https://nope.server.local"}', 404, 'service_not_found'],
  ])('refuses %s with %i %s', async (text, status, code) => {
    const answer = await send(text);
    expect(answer).toMatchObject({ status, body: { success: false, code, call_id: 'call-1' } });
    expect(answer.body.error).toBe(answer.body.message);
    expect(JSON.stringify(answer.body)).not.toContain('example.server.local');
  });

  test('answers 405 to another method', async () => {
    expect(await send('', 'GET')).toMatchObject({ status: 405, body: { error: 'Method GET not allowed' } });
  });

  test('answers 409 with the candidates for a name on two endpoints, and takes the endpoint as a hint', async () => {
    const photos = sandbox.world.stacks.find(({ name }) => name === 'photos');
    sandbox.world.stacks.push({ ...photos!, id: 400, endpointId: 10, status: 2 });
    expect(await send({ service: 'photos' })).toMatchObject({
      status: 409,
      body: {
        success: false,
        code: 'ambiguous_service',
        candidates: [
          { service: 'photos', endpoint: 'prod-vm-2', stack_id: '310' },
          { service: 'photos', endpoint: 'prod-vm-1', stack_id: '400' },
        ],
      },
    });
    expect((await send({ service: 'photos', endpoint: 'prod-vm-1' })).body).toMatchObject({
      message: 'Service photos successfully started',
      stack_id: '400',
      endpoint_id: '10',
    });
  });
});

describe('one login', () => {
  test('serves many calls at once and after one another', async () => {
    await Promise.all([send({ service: 'n8n' }), send({ service: 'nextcloud' }), send({ service: 'nope' })]);
    for (let i = 0; i < 12; i++) await send({ service: 'n8n' });
    expect(asked('POST', /^\/api\/auth$/)).toHaveLength(1);
  });

  test('is followed by one more when Portainer restarted, and the call goes through', async () => {
    await send({ service: 'n8n' });
    sandbox.restart();
    const answers = await Promise.all([send({ service: 'n8n' }), send({ service: 'nextcloud' })]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect(asked('POST', /^\/api\/auth$/)).toHaveLength(2);
  });

  test('is not tried again and again with a wrong password', async () => {
    handler = connect({ PORTAINER_PASSWORD: 'wrong-secret-value' });
    const answers = [await send({ service: 'n8n' }), await send({ service: 'n8n' }), await send({ service: 'n8n' })];
    expect(answers.map(({ status }) => status)).toEqual([502, 502, 502]);
    expect(answers[0]?.body.message).toContain('check portainer-username and portainer-password');
    expect(asked('POST', /^\/api\/auth$/)).toHaveLength(1);
    expect(JSON.stringify(answers)).not.toContain('wrong-secret-value');
  });

  test('ends after a few when every session is refused', async () => {
    sandbox.faults.push({ kind: 'unauthorized', path: '^/api/(stacks|endpoints)', times: 1_000 });
    for (let i = 0; i < 12; i++) expect((await send({ service: 'n8n' })).status).toBe(502);
    expect(asked('POST', /^\/api\/auth$/).length).toBeLessThanOrEqual(5);
  });

  test('is not needed with an access token, which is sent without an Authorization header', async () => {
    handler = connect({ PORTAINER_API_KEY: sandbox.apiKey });
    expect((await send({ service: 'n8n' })).status).toBe(200);
    expect(asked('POST', /^\/api\/auth$/)).toEqual([]);
    expect(sandbox.ledger.every(({ headers }) => 'x-api-key' in headers && !('authorization' in headers))).toBe(true);
  });
});

describe('trouble', () => {
  test('starts a stack once for many calls at the same time', async () => {
    const answers = await Promise.all(Array.from({ length: 6 }, () => send({ service: 'nextcloud' })));
    expect(new Set(answers.map(({ body }) => body.message))).toEqual(
      new Set(['Service nextcloud successfully started']),
    );
    expect(asked('POST', /\/start$/)).toHaveLength(1);
  });

  test('understands the refusal of a start that another process holds', async () => {
    const other = connect();
    const first = makeCall({ method: 'POST', body: '{"service": "nextcloud"}' });
    const [mine, theirs] = await Promise.all([send({ service: 'nextcloud' }), other(first.event, first.context)]);
    expect([mine.status, theirs.status]).toEqual([200, 200]);
    expect(containersOf('nextcloud')).toHaveLength(2);
  });

  test('answers 502 when Portainer fails', async () => {
    sandbox.world.stacks.find(({ name }) => name === 'nextcloud')!.startError =
      'pull access denied for secret-registry';
    const { status, body, lines } = await send({ service: 'nextcloud' });
    expect({ status, body }).toMatchObject({
      status: 502,
      body: {
        success: false,
        code: 'start_failed',
        message: expect.stringMatching(/an image could not be pulled; its containers are now: 2 /),
      },
    });
    expect(JSON.stringify(body)).not.toContain('secret-registry');
    expect(lines.join('')).toContain('secret-registry');
  });

  test('answers 502 with advice when something else than Portainer answers', async () => {
    sandbox.faults.push({ kind: 'html', path: '^/api/stacks$' });
    expect(await send({ service: 'nextcloud' })).toMatchObject({
      status: 502,
      body: { code: 'upstream_invalid_response', message: expect.stringContaining('check PORTAINER_API_URL') },
    });
  });

  test('answers 504 when Portainer does not answer', async () => {
    handler = connect({ PORTAINER_TIMEOUT_MS: '150' });
    sandbox.faults.push({ kind: 'hang', path: '^/api/stacks$', times: 10 });
    expect(await send({ service: 'nextcloud' })).toMatchObject({ status: 504, body: { code: 'upstream_timeout' } });
  });

  test('watches the containers when a start outlasts its deadline, and does not start again', async () => {
    await sandbox.close();
    sandbox = await startPortainerSandbox({ startMs: 600, healthyAfterMs: 100 });
    handler = connect({ START_TIMEOUT_MS: '150' });
    expect(await send({ service: 'nextcloud' })).toMatchObject({
      status: 200,
      body: { message: 'Service nextcloud successfully started' },
    });
    expect(asked('POST', /\/start$/)).toHaveLength(1);
  });

  test('answers 202 at the deadline of the whole call and says that the start goes on', async () => {
    await sandbox.close();
    sandbox = await startPortainerSandbox({ startMs: 3_000 });
    handler = connect({ START_TIMEOUT_MS: '100', DEADLINE_MS: '300' });
    expect(await send({ service: 'nextcloud' })).toMatchObject({
      status: 202,
      body: { success: true, message: 'Service nextcloud is starting', action: 'start' },
    });
  });

  test('stops and starts an active stack of which a service has no container', async () => {
    const [first] = containersOf('mediaservice');
    sandbox.world.containers = sandbox.world.containers.filter((item) => item !== first);
    expect((await send({ service: 'mediaservice' })).body.message).toBe('Service mediaservice successfully restarted');
    expect(asked('POST', /stacks/).map(({ path }) => path)).toEqual(['/api/stacks/120/stop', '/api/stacks/120/start']);
    expect(containersOf('mediaservice')).toHaveLength(2);
  });

  test('says that the service is down when it could not be started after a stop', async () => {
    const [first] = containersOf('mediaservice');
    sandbox.world.containers = sandbox.world.containers.filter((item) => item !== first);
    sandbox.world.stacks.find(({ name }) => name === 'mediaservice')!.startError = 'port is already allocated';
    expect(await send({ service: 'mediaservice' })).toMatchObject({
      status: 502,
      body: {
        code: 'start_failed_after_stop',
        message: expect.stringContaining('It was stopped to be started anew, and is down'),
      },
    });
  });

  test('makes the stack anew when Docker refuses to start a container', async () => {
    const [first] = containersOf('mediaservice');
    Object.assign(first!, { state: 'exited', exitCode: 137, startError: 'network mediaservice_default not found' });
    expect((await send({ service: 'mediaservice' })).status).toBe(200);
    expect(asked('POST', /stacks/).map(({ path }) => path)).toEqual(['/api/stacks/120/stop', '/api/stacks/120/start']);
  });

  test('removes what a failed start left behind, which would block every later start', async () => {
    const stack = sandbox.world.stacks.find(({ name }) => name === 'nextcloud')!;
    stack.startError = 'manifest unknown';
    await send({ service: 'nextcloud' });
    delete stack.startError;
    for (const item of containersOf('nextcloud')) {
      Object.assign(item, { createdAt: Date.now() - 600_000, startError: 'network nextcloud_default not found' });
    }
    expect(await send({ service: 'nextcloud' })).toMatchObject({
      status: 200,
      body: { message: 'Service nextcloud successfully started' },
    });
    expect(asked('DELETE', /containers/)).toHaveLength(2);
  });

  test('takes a container that somebody else started meanwhile for started, and unpauses a paused one', async () => {
    const [jellyfin, sonarr] = containersOf('mediaservice');
    Object.assign(jellyfin!, { state: 'paused', sick: undefined });
    Object.assign(sonarr!, { state: 'exited', exitCode: 137 });
    sandbox.faults.push({ kind: 'status', status: 304, path: '/containers/\\w+/start$', times: 1 });
    expect((await send({ service: 'mediaservice' })).body.message).toBe('Service mediaservice successfully restarted');
    expect(asked('POST', /docker/).map(({ path }) => path.split('/').at(-1))).toEqual(['unpause', 'start']);
    expect(asked('POST', /stacks/)).toEqual([]);
  });

  test('finds a stack on one endpoint while another is down', async () => {
    sandbox.world.endpoints[1]!.down = true;
    expect((await send({ referral_url: 'https://n8n.server.local' })).body.message).toBe(
      'Service n8n is already running and healthy',
    );
    expect((await send({ service: 'photos' })).status).toBe(502);
  });
});

test('refuses to be built without a key or a pair of user name and password', () => {
  expect(() => connect({ PORTAINER_PASSWORD: '' })).toThrow(ConfigError);
  expect(() => connect({ PORTAINER_API_URL: 'portainer.local' })).toThrow(/PORTAINER_API_URL/);
});

test.each(['/', '/api', '/api/'])('takes PORTAINER_API_URL with %s at its end', async (end) => {
  handler = connect({ PORTAINER_API_URL: sandbox.url + end });
  expect((await send({ service: 'n8n' })).status).toBe(200);
});
