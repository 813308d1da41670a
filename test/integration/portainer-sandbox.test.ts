import { afterEach, beforeEach, expect, test } from 'vitest';
import { type PortainerSandbox, startPortainerSandbox } from '../../sandbox/portainer.ts';

let sandbox: PortainerSandbox;
let nowMs: number;

beforeEach(async () => {
  nowMs = Date.parse('2026-11-21T06:00:00Z');
  sandbox = await startPortainerSandbox({
    now: () => nowMs,
    startMs: 1_000,
    healthyAfterMs: 5_000,
    sleep: async (ms) => {
      nowMs += ms;
    },
  });
});
afterEach(() => sandbox.close());

async function ask(method: string, path: string, headers: Record<string, string> = {}, body?: string) {
  const response = await fetch(sandbox.url + path, { method, headers, ...(body === undefined ? {} : { body }) });
  const text = await response.text();
  return {
    status: response.status,
    text,
    json: text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : null,
  };
}

const login = (password = sandbox.credentials.PORTAINER_PASSWORD) =>
  ask('POST', '/api/auth', {}, JSON.stringify({ Username: 'admin', Password: password }));
const key = () => ({ 'X-API-KEY': sandbox.apiKey });
const change = (id: number, action: string, endpointId = 10) =>
  ask('POST', `/api/stacks/${id}/${action}?endpointId=${endpointId}`, key());
const docker = (method: string, path: string, body?: string) =>
  ask(method, `/api/endpoints/10/docker${path}`, key(), body);
const statusOf = async (name: string) => {
  const { json } = await docker('GET', '/containers/json?all=1');
  return (json as { Names: string[]; Status: string }[]).find(({ Names }) => Names[0] === `/${name}`)?.Status;
};

test('gives a JWT that ends after eight hours or at a restart', async () => {
  const first = (await login()).json.jwt as string;
  const bearer = (jwt: string) => ({ Authorization: `Bearer ${jwt}` });
  expect((await ask('GET', '/api/stacks', bearer(first))).status).toBe(200);
  nowMs += 8 * 3_600_000;
  expect(await ask('GET', '/api/stacks', bearer(first))).toMatchObject({
    status: 401,
    json: { message: 'Invalid JWT token' },
  });
  const second = (await login()).json.jwt as string;
  await ask('POST', '/_sandbox/restart');
  expect((await ask('GET', '/api/stacks', bearer(second))).status).toBe(401);
});

test('refuses no credential, a wrong one, and two at once', async () => {
  const { jwt } = (await login()).json as { jwt: string };
  expect((await ask('GET', '/api/stacks')).json.message).toBe('A valid authorization token is missing');
  expect((await ask('GET', '/api/stacks', { 'X-API-KEY': 'ptr_wrong' })).status).toBe(401);
  expect((await ask('GET', '/api/stacks', { ...key(), Authorization: `Bearer ${jwt}` })).status).toBe(403);
  expect(await login('wrong')).toMatchObject({ status: 422, json: { message: 'Invalid credentials' } });
  expect(await ask('POST', '/api/auth', {}, '{}')).toMatchObject({
    status: 400,
    json: { message: 'Invalid request payload', details: 'Invalid username' },
  });
});

test('bans for an hour after more than ten logins in a second, right or wrong', async () => {
  for (let i = 0; i < 10; i++) expect((await login()).status).toBe(200);
  expect(await login()).toMatchObject({ status: 403, json: { message: 'Access denied' } });
  nowMs += 3_599_000;
  expect((await login()).status).toBe(403);
  nowMs += 1_001;
  expect((await login()).status).toBe(200);
});

test('asks for a CSRF token where a session cookie comes along', async () => {
  const { jwt } = (await login()).json as { jwt: string };
  const answer = await ask('POST', '/api/stacks/80/start?endpointId=10', { Cookie: `portainer_api_key=${jwt}` });
  expect(answer).toMatchObject({ status: 403, text: 'Forbidden - CSRF token not found in request\n' });
});

test('starts a stack, whose containers run and become healthy after a while', async () => {
  expect(await change(80, 'start')).toMatchObject({ status: 200, json: { Id: 80, Status: 1 } });
  expect(await statusOf('nextcloud-app-1')).toBe('Up 0 seconds (health: starting)');
  nowMs += 5_000;
  expect(await statusOf('nextcloud-app-1')).toBe('Up 5 seconds (healthy)');
});

test('refuses starts as the old family does: containers come before the status', async () => {
  const taken = { status: 409, json: { message: "A stack with the name 'n8n' is already running" } };
  expect(await change(150, 'start')).toMatchObject(taken);
  sandbox.world.containers = [];
  expect(await change(150, 'start')).toMatchObject({ status: 400, json: { message: 'Stack is already active' } });
  expect(await change(150, 'stop')).toMatchObject({ status: 200, json: { Status: 2 } });
  expect(await change(150, 'stop')).toMatchObject({ status: 400, json: { message: 'Stack is already inactive' } });
  expect((await ask('POST', '/api/stacks/150/start', key())).status).toBe(400);
  expect((await change(999, 'start')).status).toBe(404);
  expect((await change(150, 'start', 99)).status).toBe(404);
});

test('deletes the containers of a stopped stack', async () => {
  await change(120, 'stop');
  expect(await statusOf('mediaservice-jellyfin-1')).toBeUndefined();
});

test('leaves created containers after a failed start, which block the next one', async () => {
  sandbox.world.stacks.find(({ id }) => id === 80)!.startError = 'pull access denied';
  expect(await change(80, 'start')).toMatchObject({
    status: 500,
    json: { message: 'Unable to start stack', details: 'pull access denied' },
  });
  expect(await statusOf('nextcloud-app-1')).toBe('Created');
  expect((await change(80, 'start')).status).toBe(409);
});

test('answers for containers as Docker does', async () => {
  const id = sandbox.world.containers.find(({ name }) => name === 'mediaservice-jellyfin-1')?.id;
  expect(await statusOf('mediaservice-jellyfin-1')).toBe('Up 2 hours (unhealthy)');
  expect((await docker('POST', `/containers/${id}/start`)).status).toBe(304);
  expect((await docker('POST', `/containers/${id}/unpause`)).status).toBe(500);
  expect((await docker('POST', `/containers/${id}/start`, '{}')).status).toBe(400);
  expect((await docker('POST', `/containers/${id}/restart`)).status).toBe(204);
  expect(await statusOf('mediaservice-jellyfin-1')).toBe('Up 0 seconds (health: starting)');
  expect((await docker('POST', `/containers/${id}/stop`)).status).toBe(204);
  expect(await statusOf('mediaservice-jellyfin-1')).toBe('Exited (0) 0 seconds ago');
  expect((await docker('GET', `/containers/${id}/json`)).json.State).toMatchObject({ Status: 'exited', ExitCode: 0 });
  expect(await docker('GET', '/containers/nope/json')).toMatchObject({
    status: 404,
    json: { message: 'No such container: nope' },
  });
  expect((await ask('GET', '/api/endpoints/10/docker/v1.24/containers/json', key())).json.message).toMatch(/too old/);
});

test('answers an empty 502 for an endpoint that is down', async () => {
  sandbox.world.endpoints[0]!.down = true;
  expect(await docker('GET', '/containers/json')).toMatchObject({ status: 502, text: '' });
});

test('gives null for no stacks, a page for another path, and plain text for an unknown route', async () => {
  const filters = encodeURIComponent('{"EndpointID": 99}');
  expect((await ask('GET', `/api/stacks?filters=${filters}`, key())).text).toBe('null');
  expect((await ask('GET', '/portainer/api/stacks')).text).toContain('<title>Portainer</title>');
  expect(await ask('GET', '/api/nope', key())).toMatchObject({ status: 404, text: '404 page not found\n' });
  expect((await ask('GET', '/api/system/status')).json.Version).toBe('2.39.6');
});

test('makes the same world from the same seed', async () => {
  const other = await startPortainerSandbox({ now: () => nowMs });
  expect(other.world.containers.map(({ id }) => id)).toEqual(sandbox.world.containers.map(({ id }) => id));
  await other.close();
  await expect(startPortainerSandbox({ profile: 'nope' })).rejects.toThrow('Unknown profile nope');
});
