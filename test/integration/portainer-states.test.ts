import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { addExternal, addStack } from '../../sandbox/portainer/add.ts';
import { type PortainerSandbox, startPortainerSandbox } from '../../sandbox/portainer.ts';

let sandbox: PortainerSandbox;
let nowMs: number;

async function open(profile = 'new') {
  nowMs = Date.parse('2026-11-21T06:00:00Z');
  sandbox = await startPortainerSandbox({
    profile,
    now: () => nowMs,
    startMs: 1_000,
    healthyAfterMs: 5_000,
    sleep: async (ms) => {
      nowMs += ms;
    },
  });
}
beforeEach(() => open());
afterEach(() => sandbox.close());

async function ask(method: string, path: string, json?: unknown) {
  const response = await fetch(sandbox.url + path, {
    method,
    headers: { 'X-API-KEY': sandbox.apiKey },
    ...(json === undefined ? {} : { body: JSON.stringify(json) }),
  });
  const text = await response.text();
  return { status: response.status, text, json: /^[[{]/.test(text) ? JSON.parse(text) : null };
}
const change = (id: number, action: string) => ask('POST', `/api/stacks/${id}/${action}?endpointId=10`);
const docker = (method: string, path: string, endpointId = 10) =>
  ask(method, `/api/endpoints/${endpointId}/docker${path}`);
const stackOf = (id: number) => sandbox.world.stacks.find((stack) => stack.id === id)!;
const containerOf = (name: string) => sandbox.world.containers.find((container) => container.name === name)!;
const settled = (id: number) => expect.poll(() => stackOf(id).status).not.toBe(3);

describe('a Portainer of 2.4x', () => {
  test('says its version and the outcome of the last deployments', async () => {
    expect((await ask('GET', '/api/system/status')).json.Version).toBe('2.45.0');
    expect((await ask('GET', '/api/stacks/80')).json).toMatchObject({ Status: 2, DeploymentStatus: [] });
    await sandbox.close();
    await open('old');
    expect((await ask('GET', '/api/stacks/80')).json).not.toHaveProperty('DeploymentStatus');
  });

  test('refuses a start by the status first, then by the name', async () => {
    const refusal = (details: string) => ({ status: 409, json: { message: 'Unable to start stack', details } });
    expect(await change(150, 'start')).toMatchObject(refusal('Stack is already active'));
    stackOf(150).status = 3;
    expect(await change(150, 'start')).toMatchObject(refusal('Stack deployment is already in progress'));
    expect(await change(150, 'stop')).toMatchObject({
      status: 409,
      json: { message: 'Stack deployment is in progress' },
    });
    stackOf(150).status = 2;
    expect((await change(150, 'start')).json.message).toBe("A stack with the name 'n8n' is already running");
    expect(sandbox.counts).toMatchObject({ starts: {}, refusedStarts: { 150: 3 }, refusedChanges: { 150: 1 } });
  });

  test('keeps the error of a start that failed until the stack is stopped', async () => {
    stackOf(80).startError = 'pull access denied';
    expect(await change(80, 'start')).toMatchObject({
      status: 500,
      json: { message: 'Unable to start stack', details: 'pull access denied' },
    });
    const { json } = await ask('GET', '/api/stacks/80');
    expect(json).toMatchObject({ Status: 4, DeploymentStatus: [{ Status: 4, Message: 'pull access denied' }] });
    delete stackOf(80).startError;
    expect((await change(80, 'start')).json.details).toBe('pull access denied');
    expect((await change(80, 'stop')).json.Status).toBe(2);
    expect((await change(80, 'start')).json.Status).toBe(1);
    expect(sandbox.counts).toMatchObject({ starts: { 80: 2 }, stops: { 80: 1 }, composeUps: { 80: 2 } });
  });

  test('answers an update at once with status 3, and goes on behind it', async () => {
    const body = { StackFileContent: stackOf(80).file, Env: stackOf(80).env };
    expect((await ask('PUT', '/api/stacks/80?endpointId=10', body)).json.Status).toBe(3);
    await settled(80);
    expect(stackOf(80).status).toBe(1);
    expect(containerOf('nextcloud-app-1').state).toBe('running');
  });

  test('wipes the variables of an update that leaves them out', async () => {
    await ask('PUT', '/api/stacks/80?endpointId=10', { StackFileContent: stackOf(80).file });
    await settled(80);
    expect(stackOf(80).env).toEqual([]);
  });

  test('redeploys from Git only what came from Git', async () => {
    expect(await ask('PUT', '/api/stacks/80/git/redeploy?endpointId=10', {})).toMatchObject({
      status: 400,
      json: { message: 'Stack is not created from git' },
    });
    stackOf(80).gitUrl = 'https://git.example.com/stacks.git';
    expect((await ask('PUT', '/api/stacks/80/git/redeploy?endpointId=10', {})).json.Status).toBe(3);
    await settled(80);
    expect(stackOf(80)).toMatchObject({ status: 1, env: [{ name: 'DOMAIN' }, { name: 'DB_PASSWORD' }] });
  });

  test('starts one stack after the other, whatever their endpoints', async () => {
    const waits: (() => void)[] = [];
    await sandbox.close();
    sandbox = await startPortainerSandbox({ profile: 'new', sleep: () => new Promise((done) => waits.push(done)) });
    const both = Promise.all([change(80, 'start'), change(200, 'start')]);
    await expect.poll(() => sandbox.counts.starts).toEqual({ 80: 1, 200: 1 });
    expect(waits).toHaveLength(1);
    waits.shift()?.();
    await expect.poll(() => waits.length).toBe(1);
    waits.shift()?.();
    expect((await both).map(({ status }) => status)).toEqual([200, 200]);
  });
});

describe('containers', () => {
  const file = 'services:\n  web:\n    image: a:1\n    restart: always\n  job:\n    image: b:1\n';

  test('are paused, created, exited or dead as a test puts them, and one of a service can be missing', async () => {
    addStack(sandbox.world, {
      id: 1,
      name: 'mixed',
      status: 1,
      file,
      containers: { web: { state: 'paused' }, job: null },
    });
    const filters = encodeURIComponent('{"label":["com.docker.compose.project=mixed"]}');
    const { json } = await docker('GET', `/containers/json?all=1&filters=${filters}`);
    expect(json).toMatchObject([{ State: 'paused', Status: 'Up 2 hours (Paused)' }]);
    expect((await docker('POST', '/containers/mixed-web-1/start')).status).toBe(409);
    expect((await docker('POST', '/containers/mixed-web-1/unpause')).status).toBe(204);
    containerOf('mixed-web-1').state = 'dead';
    expect((await docker('POST', '/containers/mixed-web-1/start')).status).toBe(409);
  });

  test('crash in a loop where they are restarted, and exit with 1 where they are not', async () => {
    const crash = { crashesAfterMs: 1_000 };
    addStack(sandbox.world, { id: 1, name: 'crash', status: 1, file, containers: { web: crash, job: crash } });
    await docker('GET', '/containers/json?all=1');
    expect(containerOf('crash-web-1')).toMatchObject({ state: 'restarting', exitCode: 1 });
    expect(containerOf('crash-web-1').restartCount).toBeGreaterThan(3);
    expect(containerOf('crash-job-1')).toMatchObject({ state: 'exited', exitCode: 1, restartCount: 0 });
    const { json } = await docker('GET', '/containers/crash-web-1/json');
    expect(json).toMatchObject({ State: { Restarting: true, ExitCode: 1 } });
  });

  test('are starting, then unhealthy, when they are sick', async () => {
    containerOf('mediaservice-jellyfin-1').sick = 'always';
    await docker('POST', '/containers/mediaservice-jellyfin-1/restart');
    const health = async () =>
      (await docker('GET', '/containers/mediaservice-jellyfin-1/json')).json.State.Health.Status;
    expect(await health()).toBe('starting');
    nowMs += 5_000;
    expect(await health()).toBe('unhealthy');
  });

  test('tell their health in a list from Docker 29 on, and in the text before', async () => {
    const [first] = (await docker('GET', '/containers/json')).json;
    expect(first.Health).toEqual({ Status: 'unhealthy', FailingStreak: 3 });
    const [old] = (await docker('GET', '/containers/json', 20)).json;
    expect(old).toMatchObject({ Status: 'Up 2 hours (healthy)' });
    expect(old).not.toHaveProperty('Health');
  });

  test('are left where a restart of Portainer found the start', async () => {
    await sandbox.close();
    const waits: (() => void)[] = [];
    sandbox = await startPortainerSandbox({ profile: 'new', sleep: () => new Promise((done) => waits.push(done)) });
    const start = change(80, 'start').catch(() => 'dropped');
    await expect.poll(() => waits.length).toBe(1);
    sandbox.restart();
    expect(await start).toBe('dropped');
    waits.shift()?.();
    expect(containerOf('nextcloud-app-1').state).toBe('created');
    expect((await ask('GET', '/api/stacks/80')).json.Status).toBe(2);
    expect(sandbox.counts).toMatchObject({ starts: { 80: 1 }, lostStarts: { 80: 1 } });
  });

  test('that run are not removed without force, and a hidden one is in no list', async () => {
    expect((await docker('DELETE', '/containers/mediaservice-sonarr-1')).status).toBe(409);
    expect((await docker('DELETE', '/containers/mediaservice-sonarr-1?force=1')).status).toBe(204);
    sandbox.world.hiddenLabels.push('com.docker.compose.service=jellyfin');
    expect((await docker('GET', '/containers/json?all=1')).text).not.toContain('jellyfin');
  });

  test('of a project that Portainer does not know have no stack', async () => {
    addExternal(sandbox.world, { name: 'outside', file });
    expect((await docker('GET', '/containers/json')).text).toContain('outside-web-1');
    expect((await ask('GET', '/api/stacks')).text).not.toContain('outside');
  });
});

describe('Swarm, Kubernetes and the edge', () => {
  const file =
    'services:\n  web:\n    image: a:1\n    deploy:\n      replicas: 2\n      labels:\n        spot-start.host: s.local\n';

  test('a Swarm stack is started at once, and its tasks run later', async () => {
    sandbox.world.endpoints[0]!.swarmId = 'swarm-1';
    const { id } = addStack(sandbox.world, { name: 'shop', type: 1, file });
    const services = async () => (await docker('GET', '/services?status=true')).json;
    expect(await services()).toEqual([]);
    expect((await change(id, 'start')).json).toMatchObject({ Status: 1, SwarmId: 'swarm-1' });
    expect(await services()).toMatchObject([
      { Spec: { Name: 'shop_web', Labels: { 'spot-start.host': 's.local' } }, ServiceStatus: { RunningTasks: 0 } },
    ]);
    nowMs += 5_000;
    expect(await services()).toMatchObject([{ ServiceStatus: { RunningTasks: 2, DesiredTasks: 2 } }]);
    expect((await docker('GET', '/containers/json')).text).toContain('com.docker.swarm.service.name');
    sandbox.world.services[0]!.rejected = 'No such image: a:1';
    expect((await docker('GET', '/tasks')).json).toMatchObject([
      { Status: { State: 'rejected', Err: 'No such image: a:1' } },
      { Status: { State: 'rejected' } },
    ]);
    const [{ ID }] = await services();
    expect((await ask('PUT', '/api/endpoints/10/forceupdateservice', { ServiceID: ID })).status).toBe(200);
    expect((await change(id, 'stop')).status).toBe(200);
    expect(await services()).toEqual([]);
  });

  test('a node outside a Swarm has no services', async () => {
    expect((await docker('GET', '/services')).status).toBe(503);
    expect((await docker('GET', '/info')).json.Swarm.LocalNodeState).toBe('inactive');
  });

  test('a Kubernetes stack is not started', async () => {
    const { id } = addStack(sandbox.world, { name: 'kube', type: 3, file: 'kind: Deployment' });
    expect(await change(id, 'start')).toMatchObject({
      status: 400,
      json: { message: 'Starting a kubernetes stack is not supported' },
    });
  });

  test('an async edge endpoint has no tunnel, another edge one opens it at the first call', async () => {
    const edge = sandbox.world.endpoints[1]!;
    edge.type = 4;
    edge.edge = { asyncMode: true };
    expect((await docker('GET', '/containers/json', 20)).json.details).toMatch(/async edge/);
    edge.edge = { asyncMode: false, tunnelMs: 4_000 };
    const before = nowMs;
    expect((await docker('GET', '/containers/json', 20)).status).toBe(200);
    expect(nowMs - before).toBe(4_000);
    expect((await ask('GET', '/api/endpoints?types[]=4&excludeSnapshots=true')).json).toMatchObject([{ Id: 20 }]);
  });

  test('a silent host never answers', async () => {
    sandbox.world.endpoints[1]!.silent = true;
    const call = fetch(`${sandbox.url}/api/endpoints/20/docker/containers/json`, {
      headers: { 'X-API-KEY': sandbox.apiKey },
      signal: AbortSignal.timeout(200),
    });
    await expect(call).rejects.toThrow('timeout');
  });
});

describe('trouble', () => {
  test('does the work and loses the answer', async () => {
    sandbox.faults.push({ kind: 'lost', method: 'POST', path: '/start', times: 1 });
    await expect(change(80, 'start')).rejects.toThrow();
    expect(stackOf(80).status).toBe(1);
    expect((await change(80, 'start')).status).toBe(409);
  });

  test('strikes a share of the calls, and slows them besides', async () => {
    sandbox.faults.push({ kind: 'slow', delayMs: 1 }, { kind: 'status', status: 503, share: 0.5 });
    const answers = await Promise.all(Array.from({ length: 40 }, () => ask('GET', '/api/stacks')));
    const failed = answers.filter(({ status }) => status === 503).length;
    expect(failed).toBeGreaterThan(8);
    expect(failed).toBeLessThan(32);
  });

  test('is away for as long as a restart takes', async () => {
    await ask('POST', '/_sandbox/restart?downMs=3000').catch(() => undefined);
    await expect(ask('GET', '/api/stacks')).rejects.toThrow();
    nowMs += 3_000;
    expect((await ask('GET', '/api/stacks')).status).toBe(200);
  });

  test('bans an address, counts logins by their answer, and pardons', async () => {
    const login = () =>
      ask('POST', '/api/auth', { username: 'admin', password: sandbox.credentials.PORTAINER_PASSWORD });
    expect((await login()).status).toBe(200);
    sandbox.ban();
    expect((await login()).status).toBe(403);
    sandbox.pardon();
    expect((await ask('POST', '/api/auth', { username: 'admin', password: 'wrong' })).status).toBe(422);
    expect(sandbox.counts.logins).toEqual({ given: 1, refused: 1, banned: 1 });
  });
});
