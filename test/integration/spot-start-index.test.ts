import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import create from '../../functions/spot-start-service/index.ts';
import { addExternal, addStack } from '../../sandbox/portainer/add.ts';
import { type PortainerSandbox, startPortainerSandbox } from '../../sandbox/portainer.ts';
import type { Handler } from '../../shared/http/function.ts';
import { bodyOf, makeCall } from '../support/call.ts';

let sandbox: PortainerSandbox;
let handler: Handler;

const connect = (env: Record<string, string> = {}) =>
  create({
    AUTH: 'none',
    SECRET_MOUNT_PATH: '/nonexistent',
    PORTAINER_API_URL: sandbox.url,
    PORTAINER_API_KEY: sandbox.apiKey,
    START_TIMEOUT_MS: '3000',
    DEADLINE_MS: '8000',
    ...env,
  });

beforeEach(async () => {
  sandbox = await startPortainerSandbox({ startMs: 10, healthyAfterMs: 60 });
  handler = connect();
});
afterEach(() => sandbox.close());

async function call(method: string, url: string, body?: object, headers: Record<string, string> = {}) {
  const text = body === undefined ? {} : { body: JSON.stringify(body) };
  const { event, context, lines } = makeCall({ method, url, headers, ...text });
  const response = await handler(event, context);
  return { status: response.status, body: bodyOf(response) as Record<string, unknown>, lines };
}
const send = (body: object) => call('POST', '/', body);
const nameOf = async (url: string) => {
  const { body } = await send({ referral_url: url, do: 'status' });
  return (body.details as { service?: string } | undefined)?.service ?? body.code;
};
const service = (lines: string) => `services:\n  web:\n    image: app:1\n    restart: unless-stopped\n${lines}\n`;
const calls = () => sandbox.ledger.map(({ method, path }) => `${method} ${path}`);

describe('a URL finds', () => {
  const rule = (text: string) => service(`    labels: ["traefik.http.routers.x.rule=${text}"]`);

  test.each<[string, string, Record<string, string>, string]>([
    ['spot-start.host', service('    labels: { spot-start.host: "x.example, y.example" }'), {}, 'https://y.example/a'],
    ['home.resolve.domain', service('    labels: { home.resolve.domain: y.example }'), {}, 'y.example:8443'],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the syntax of compose
    ['Traefik with a variable', rule('Host(`${SUB:-y}.${DOMAIN}`)'), { DOMAIN: 'example' }, 'https://y.example'],
    ['Traefik’s regexp', rule('HostRegexp(`^[a-z]+[.]example$$`)'), {}, 'https://y.example'],
    ['Traefik 1', service('    labels: { traefik.frontend.rule: "Host:y.example" }'), {}, 'https://y.example'],
    ['caddy-docker-proxy', service('    labels: { caddy: "https://y.example" }'), {}, 'https://y.example'],
    [
      'nginx-proxy',
      service('    environment: { VIRTUAL_HOST: "$HOSTS" }'),
      { HOSTS: 'a.b,y.example' },
      'http://y.example',
    ],
  ])('a sleeping stack by %s in its file', async (_, file, env, url) => {
    addStack(sandbox.world, { name: 'wanted', file, env });
    expect(await nameOf(url)).toBe('wanted');
  });

  test('a running container of nobody’s stack by its VIRTUAL_HOST, where an nginx-proxy runs, and reads no other variable', async () => {
    const file = service('    environment: { VIRTUAL_HOST: out.example, PASSWORD: secret-word }');
    addExternal(sandbox.world, { name: 'outside', file });
    addExternal(sandbox.world, {
      name: 'proxy',
      file: 'services: { proxy: { image: "nginxproxy/nginx-proxy:1.7" } }',
    });
    expect(await nameOf('http://out.example')).toBe('outside');
    const { body, lines } = await send({ referral_url: 'http://out.example' });
    expect(JSON.stringify([body, lines])).not.toContain('secret-word');
  });

  test('a service of a Swarm by the labels of its deployment', async () => {
    Object.assign(sandbox.world.endpoints[0] ?? {}, { swarmId: 'swarm-1' });
    const file = service('    deploy: { labels: { traefik.http.routers.x.rule: "Host(`swarm.example`)" } }');
    addStack(sandbox.world, { name: 'cluster', type: 1, status: 1, file });
    expect(await nameOf('https://swarm.example')).toBe('cluster');
  });

  test('by SPOT_START_HOSTS what no label names, before all labels', async () => {
    handler = connect({ SPOT_START_HOSTS: 'n8n.server.local=photos, *.files.example=prod-vm-1/nextcloud' });
    expect(await nameOf('https://n8n.server.local')).toBe('photos');
    expect(await nameOf('https://my.files.example')).toBe('nextcloud');
  });

  test('the stack of the longest path where several share a host', async () => {
    addStack(sandbox.world, { name: 'root', file: rule('Host(`y.example`)') });
    addStack(sandbox.world, { name: 'deep', file: rule('Host(`y.example`) && PathPrefix(`/app`)') });
    expect(await nameOf('https://y.example/app/1')).toBe('deep');
    expect(await nameOf('https://y.example/')).toBe('root');
  });

  test('nothing, and names no host that exists', async () => {
    const { status, body } = await send({ referral_url: 'https://unknown.server.local' });
    expect({ status, code: body.code }).toEqual({ status: 404, code: 'service_not_found' });
    expect(JSON.stringify(body)).not.toMatch(/example\.server\.local|cloud\.server|n8n/);
  });

  test('candidates, when two claim the host alike', async () => {
    for (const name of ['one', 'two']) addStack(sandbox.world, { name, file: rule('Host(`y.example`)') });
    expect(await send({ referral_url: 'https://y.example' })).toMatchObject({
      status: 409,
      body: { code: 'ambiguous_service', candidates: [{ service: 'one' }, { service: 'two' }] },
    });
    expect(sandbox.counts.starts).toEqual({});
  });

  test('what a container told while it ran, when its file beside the entry point tells nothing', async () => {
    handler = connect({ INDEX_TTL_MS: '0' });
    const stack = addStack(sandbox.world, { name: 'repository', file: service(''), status: 1, containers: {} });
    Object.assign(sandbox.world.containers.at(-1)?.labels ?? {}, { 'spot-start.host': 'git.example' });
    expect(await nameOf('https://git.example')).toBe('repository');
    sandbox.world.containers.pop();
    stack.status = 2;
    const builds = () =>
      sandbox.ledger.filter(({ path }) => path === '/api/endpoints/20/docker/containers/json').length;
    const before = builds();
    await expect.poll(() => nameOf('https://git.example').then(builds), { timeout: 5_000 }).toBeGreaterThan(before + 2);
    expect(await nameOf('https://git.example')).toBe('repository');
  });
});

describe('labels', () => {
  const optOut = service('    labels: { spot-start.host: off.example, spot-start.enable: "false" }');
  const optIn = service('    labels: { spot-start.enable: "true", traefik.http.routers.x.rule: "Host(`on.example`)" }');

  test('opt out: by URL it is not there, by name it is refused, and never started', async () => {
    addStack(sandbox.world, { name: 'off', file: optOut });
    expect(await nameOf('https://off.example')).toBe('service_not_found');
    expect(await send({ service: 'off' })).toMatchObject({ status: 403, body: { code: 'not_enabled' } });
    expect(sandbox.counts.starts).toEqual({});
  });

  test('are asked for by SPOT_START_REQUIRE_LABEL, and the map stands for one', async () => {
    handler = connect({ SPOT_START_REQUIRE_LABEL: 'true', SPOT_START_HOSTS: 'mapped.example=nextcloud' });
    addStack(sandbox.world, { name: 'on', file: optIn });
    expect(await nameOf('https://on.example')).toBe('on');
    expect(await nameOf('https://n8n.server.local')).toBe('n8n');
    expect(await nameOf('https://mapped.example')).toBe('nextcloud');
    expect(await nameOf('https://example.server.local')).toBe('service_not_found');
    expect(await send({ service: 'example-stack' })).toMatchObject({ status: 403, body: { code: 'label_required' } });
    expect((await send({ service: 'on' })).status).toBe(200);
  });

  test('take a container out, and tell a job', async () => {
    const file = `services:
  web: { image: "app:1", restart: always }
  side: { image: "app:1", labels: { spot-start.ignore: "true" } }
  backup: { image: "app:1", restart: always, labels: { spot-start.oneshot: "true" } }
`;
    const gone = { state: 'exited' as const, exitCode: 1 };
    const done = { state: 'exited' as const, exitCode: 0 };
    addStack(sandbox.world, { name: 'told', file, status: 1, containers: { side: gone, backup: done } });
    expect((await send({ service: 'told' })).body).toMatchObject({ action: 'none', details: { status: 'healthy' } });
  });
});

describe('spot-start.requires', () => {
  const needs = (...names: string[]) => service(`    labels: { spot-start.requires: "${names.join(', ')}" }`);
  const started = () =>
    sandbox.ledger.filter(({ path }) => path.endsWith('/start')).map(({ path }) => path.split('/')[3]);

  test('starts and awaits other stacks first, each after its own', async () => {
    const healthy = service('    healthcheck: { test: ["CMD", "true"] }');
    const db = addStack(sandbox.world, { name: 'db', file: healthy });
    const auth = addStack(sandbox.world, { name: 'auth', file: needs('db') });
    const app = addStack(sandbox.world, { name: 'app', file: needs('auth', 'db') });
    const { body } = await send({ service: 'app' });
    expect(body).toMatchObject({ action: 'start', details: { service: 'app' } });
    expect(started()).toEqual([db, auth, app].map(({ id }) => String(id)));
    const startOf = (name: string) => sandbox.world.containers.find(({ project }) => project === name)?.startedAt ?? 0;
    // Healthy 60 ms after its start, and not only started.
    expect(startOf('auth')).toBeGreaterThanOrEqual(startOf('db') + 60);
  });

  test('is refused as a circle, by name, before anything is started', async () => {
    addStack(sandbox.world, { name: 'a', file: needs('b') });
    addStack(sandbox.world, { name: 'b', file: needs('c') });
    addStack(sandbox.world, { name: 'c', file: needs('a') });
    expect(await send({ service: 'b' })).toMatchObject({
      status: 409,
      body: {
        code: 'requires_cycle',
        message: 'Services require each other in a circle: b requires c requires a requires b',
      },
    });
    expect(sandbox.counts.starts).toEqual({});
  });

  test('is refused when it names nothing, and prefers the own endpoint to another', async () => {
    addStack(sandbox.world, { name: 'lost', file: needs('nowhere') });
    addStack(sandbox.world, { name: 'db', file: service(''), endpointId: 20 });
    const near = addStack(sandbox.world, { name: 'db', file: service('') });
    addStack(sandbox.world, { name: 'near', file: needs('db') });
    expect(await send({ service: 'lost' })).toMatchObject({ status: 409, body: { code: 'required_not_found' } });
    expect((await send({ service: 'near' })).status).toBe(200);
    expect(sandbox.counts.starts[near.id]).toBe(1);
  });

  test('is told by dry_run', async () => {
    addStack(sandbox.world, { name: 'db', file: service('') });
    addStack(sandbox.world, { name: 'app', file: needs('db') });
    expect((await send({ service: 'app', dry_run: true })).body).toMatchObject({ plan: ['await db', 'start-stack'] });
    expect(sandbox.counts.starts).toEqual({});
  });

  test('fails by name when what it requires fails', async () => {
    addStack(sandbox.world, { name: 'db', file: service('') }).startError = 'no space left on device';
    addStack(sandbox.world, { name: 'app', file: needs('db') });
    expect(await send({ service: 'app' })).toMatchObject({
      status: 502,
      body: { code: 'start_failed', message: expect.stringMatching(/^Service db could not be started: the disk/) },
    });
  });
});

describe('the index', () => {
  test('lets a healthy service be answered with two calls, by name and by URL', async () => {
    await send({ service: 'n8n' });
    await send({ referral_url: 'https://n8n.server.local' });
    for (const body of [{ service: 'n8n' }, { referral_url: 'https://n8n.server.local/x' }]) {
      const before = sandbox.ledger.length;
      expect((await send(body)).body).toMatchObject({ action: 'none' });
      expect(calls().slice(before).toSorted()).toEqual([
        'GET /api/endpoints/10/docker/containers/json',
        'GET /api/stacks/150',
      ]);
    }
  });

  test('asks again for what it does not know, but not for each stranger', async () => {
    expect(await nameOf('https://new.example')).toBe('service_not_found');
    const before = sandbox.ledger.length;
    for (let i = 0; i < 20; i++) expect(await nameOf(`https://new${i}.example`)).toBe('service_not_found');
    expect(sandbox.ledger.length).toBe(before);
  });

  test('is rebuilt in the background when it is old, and used meanwhile', async () => {
    handler = connect({ INDEX_TTL_MS: '0', PORTAINER_TIMEOUT_MS: '1500' });
    await nameOf('https://n8n.server.local');
    addStack(sandbox.world, { name: 'late', file: service('    labels: { spot-start.host: late.example }') });
    // A rebuild that does not end is no reason to wait: what is known answers.
    sandbox.faults.push({ kind: 'hang', path: '^/api/stacks$', times: 1 });
    expect(await nameOf('https://n8n.server.local')).toBe('n8n');
    await expect.poll(() => nameOf('https://late.example'), { timeout: 10_000 }).toBe('late');
  });

  test('is not held back by a dead host, nor is a service on another one', async () => {
    sandbox.world.endpoints.unshift({
      id: 5,
      name: 'dead',
      url: '',
      type: 2,
      down: false,
      silent: true,
      docker: '29.1.0',
    });
    // Were the dead host waited for, the deadline of the call would come first.
    handler = connect({ ENDPOINT_TIMEOUT_MS: '60000' });
    expect(await nameOf('https://n8n.server.local')).toBe('n8n');
    expect((await send({ service: 'nextcloud' })).status).toBe(200);
  }, 20_000);

  test('asks endpoints side by side, eight at once, and without their snapshots', async () => {
    for (let id = 100; id < 120; id++) {
      sandbox.world.endpoints.push({ id, name: `vm-${id}`, url: '', type: 2, down: false, docker: '29.1.0' });
    }
    sandbox.faults.push({ kind: 'slow', path: '/docker/containers/json$', delayMs: 200 });
    expect(await nameOf('https://unknown.example')).toBe('service_not_found');
    const arrivals = sandbox.ledger
      .filter(({ path }) => path.endsWith('/docker/containers/json'))
      .map(({ at }) => Date.parse(at));
    expect(arrivals).toHaveLength(22);
    const sinceFirst = (index: number) => (arrivals[index] ?? 0) - (arrivals[0] ?? 0);
    // The eighth does not wait for the seven before it, each of 200 ms; the ninth waits for one of them.
    expect(sinceFirst(7)).toBeLessThan(1_400);
    expect(sinceFirst(8)).toBeGreaterThanOrEqual(199);
    const { query } = sandbox.ledger.find(({ path }) => path === '/api/endpoints') ?? {};
    expect(query).toBe('?excludeSnapshots=true');
  });

  test('forgets a stack that is gone', async () => {
    await send({ service: 'photos' });
    sandbox.world.stacks = sandbox.world.stacks.filter(({ name }) => name !== 'photos');
    sandbox.world.containers = sandbox.world.containers.filter(({ project }) => project !== 'photos');
    expect(await send({ service: 'photos' })).toMatchObject({ status: 404, body: { code: 'service_not_found' } });
  });
});

describe('GET /services', () => {
  test('lists with a key what can be started, and its state', async () => {
    handler = connect({ AUTH: 'api-key', FUNCTION_API_KEY: 'test:the-key' });
    addStack(sandbox.world, { name: 'kube', type: 3, file: 'services: {}' });
    addStack(sandbox.world, { name: 'off', file: service('    labels: { spot-start.enable: "false" }') });
    expect((await call('GET', '/services')).status).toBe(401);
    const { status, body } = await call('GET', '/services', undefined, { authorization: 'Bearer the-key' });
    expect(status).toBe(200);
    expect(body.services).toEqual([
      { service: 'nextcloud', endpoint: 'prod-vm-1', stack_id: '80', status: 'removed', startable: true },
      { service: 'mediaservice', endpoint: 'prod-vm-1', stack_id: '120', status: 'unhealthy', startable: true },
      { service: 'n8n', endpoint: 'prod-vm-1', stack_id: '150', status: 'healthy', startable: true },
      { service: 'example-stack', endpoint: 'prod-vm-1', stack_id: '200', status: 'removed', startable: true },
      { service: 'photos', endpoint: 'prod-vm-2', stack_id: '310', status: 'healthy', startable: true },
      { service: 'kube', endpoint: 'prod-vm-1', stack_id: expect.any(String), status: 'unsupported', startable: false },
      { service: 'off', endpoint: 'prod-vm-1', stack_id: expect.any(String), status: 'removed', startable: false },
    ]);
  });

  test('is never open, also not with AUTH=none', async () => {
    expect(await call('GET', '/services')).toMatchObject({ status: 403, body: { code: 'key_required' } });
  });
});
