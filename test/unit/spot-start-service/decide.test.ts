import { describe, expect, test } from 'vitest';
import {
  type ClassifiedContainer,
  type ContainerClass,
  classifyContainers,
  inDependencyOrder,
  type ObservedContainer,
  toObserved,
} from '../../../functions/spot-start-service/stack/containers.ts';
import { decide, type Situation, toVerdict } from '../../../functions/spot-start-service/stack/decide.ts';
import { protectionOf } from '../../../functions/spot-start-service/stack/protect.ts';
import type { ContainerInspection, SwarmService } from '../../../shared/clients/portainer.ts';

const nowMs = 1_000_000_000;

function container(service: string, fields: Partial<ObservedContainer> = {}): ObservedContainer {
  return {
    id: service,
    name: `x-${service}-1`,
    image: 'app:1',
    state: 'running',
    health: 'none',
    exitCode: undefined,
    createdAtMs: 0,
    isYoung: false,
    labels: {},
    hostPorts: [],
    onHostNetwork: false,
    isPortainer: false,
    service,
    dependsOn: {},
    ...fields,
  };
}

const job: ContainerInspection = {
  restartPolicy: 'no',
  restartCount: 0,
  startedAtMs: 0,
  hasHealthcheck: false,
  healthGraceMs: 90_000,
  hostPorts: [],
  env: {},
};
const exited = (exitCode: number, fields: Partial<ObservedContainer> = {}) => ({
  state: 'exited',
  exitCode,
  ...fields,
});
const label = (name: string, value: string) => ({ labels: { [name]: value } });
const healthOf = (startedAtMs: number) => ({ health: 'unhealthy' as const, inspection: { ...job, startedAtMs } });

describe('a container is', () => {
  test.each<[ContainerClass, string, Partial<ObservedContainer>]>([
    ['ok', 'running without a healthcheck', {}],
    ['ok', 'running and healthy', { health: 'healthy' }],
    ['starting', 'running while its healthcheck says starting', { health: 'starting' }],
    ['unhealthy', 'unhealthy since longer than a boot may take', healthOf(nowMs - 91_000)],
    ['starting', 'unhealthy within the time that a boot may take', healthOf(nowMs - 89_000)],
    ['starting', 'restarting for the first times', { state: 'restarting', exitCode: 1, inspection: job }],
    [
      'crash-looping',
      'restarting again and again',
      { state: 'restarting', exitCode: 1, inspection: { ...job, restartCount: 5 } },
    ],
    ['crash-looping', 'up for seconds after many restarts', { isYoung: true, inspection: { ...job, restartCount: 9 } }],
    ['ok', 'up for long after many restarts', { inspection: { ...job, restartCount: 9 } }],
    ['completed', 'a job that exited with 0', exited(0, { inspection: job })],
    ['stopped', 'exited with 0 under a restart policy', exited(0, { inspection: { ...job, restartPolicy: 'always' } })],
    ['stopped', 'exited with 0 and has a healthcheck', exited(0, { inspection: { ...job, hasHealthcheck: true } })],
    ['stopped', 'exited with 0 and publishes a port', exited(0, { inspection: { ...job, hostPorts: [80] } })],
    ['stopped', 'exited with 0 and is routed', exited(0, { inspection: job, ...label('traefik.enable', 'true') })],
    ['stopped', 'labelled as no job', exited(0, { inspection: job, ...label('spot-start.oneshot', 'false') })],
    [
      'completed',
      'labelled as a job, though it publishes a port',
      exited(0, { inspection: { ...job, hostPorts: [80] }, ...label('spot-start.oneshot', 'true') }),
    ],
    ['stopped', 'a job that failed', exited(1, { inspection: job, ...label('spot-start.oneshot', 'true') })],
    ['stopped', 'exited with 137', exited(137, { inspection: job })],
    ['created', 'created long ago', { state: 'created' }],
    ['starting', 'created by a start in flight', { state: 'created', createdAtMs: nowMs - 5_000 }],
    ['paused', 'paused', { state: 'paused' }],
    ['broken', 'dead', { state: 'dead' }],
    ['broken', 'being removed', { state: 'removing' }],
  ])('%s when it is %s', (expected, _, fields) => {
    const [found] = classifyContainers([container('x', fields), container('web')], { nowMs });
    expect(found?.class).toBe(expected);
  });

  test('completed when another service waits for it to complete, whatever it looks like', () => {
    const server = { ...job, hasHealthcheck: true, hostPorts: [80] };
    const web = container('web', { dependsOn: { migrate: 'service_completed_successfully' } });
    const found = classifyContainers([container('migrate', exited(0, { inspection: server })), web], { nowMs });
    expect(found[0]?.class).toBe('completed');
  });

  test('stopped rather than completed when all of its stack has exited', () => {
    const all = [container('a', exited(0, { inspection: job })), container('b', exited(143))];
    expect(classifyContainers(all, { nowMs }).map((item) => item.class)).toEqual(['stopped', 'stopped']);
  });

  test('completed though all has exited, when its label or another service tells that it is a job', () => {
    const web = container('web', exited(137, { dependsOn: { migrate: 'service_completed_successfully' } }));
    const migrate = container('migrate', exited(0, { inspection: job }));
    const backup = container('backup', exited(0, { inspection: job, ...label('spot-start.oneshot', 'true') }));
    const classes = (all: ObservedContainer[]) => classifyContainers(all, { nowMs }).map((item) => item.class);
    expect(classes([web, migrate, backup])).toEqual(['stopped', 'completed', 'completed']);
    expect(classes([backup])).toEqual(['completed']);
  });

  test('a leftover when the start that made it has failed, however young it is', () => {
    const all = [container('a', { state: 'created', createdAtMs: nowMs - 5_000 })];
    expect(classifyContainers(all, { nowMs, failedAtMs: nowMs - 1_000 })[0]?.class).toBe('created');
    expect(classifyContainers(all, { nowMs, failedAtMs: nowMs - 9_000 })[0]?.class).toBe('starting');
  });

  test('starting while compose holds it back for the health of another, however long that takes', () => {
    const app = container('app', { state: 'created', dependsOn: { db: 'service_healthy' } });
    const db = container('db', { health: 'starting' });
    expect(classifyContainers([app, db], { nowMs })[0]?.class).toBe('starting');
  });

  test('left out when compose ran it once, another project has it, or a label takes it out', () => {
    const of = (labels: Record<string, string>) =>
      container('x', { labels: { 'com.docker.compose.project': 'x', ...labels } });
    const all = [
      of({}),
      of({ 'com.docker.compose.oneoff': 'True' }),
      of({ 'com.docker.compose.project': 'y' }),
      of({ 'spot-start.ignore': 'true' }),
    ];
    expect(toObserved(all, 'x')).toHaveLength(1);
  });
});

const as = (...classes: ContainerClass[]): ClassifiedContainer[] =>
  classes.map((found, index) => ({ ...container(`s${index}`), class: found }));
const steps = (...list: [string, string][]) => list.map(([kind, containerId]) => ({ kind, containerId }));
const situation = (fields: Partial<Situation> = {}): Situation => ({
  name: 'x',
  stack: { type: 'compose', status: 'active' },
  endpointKind: 'docker',
  containers: [],
  missing: [],
  protection: undefined,
  nowMs,
  ...fields,
});

type Row = [status: string, containers: ContainerClass[], missing: string[], plan: object, verdict: string];
const healthy = { kind: 'none', status: 'healthy' };
const starting = { kind: 'none', status: 'starting' };

/** Section by section what Portainer's status and the containers mean together; both families have these. */
const both: Row[] = [
  // Stopped by Portainer.
  ['inactive', [], [], { kind: 'start-stack', action: 'start' }, 'removed'],
  // Runs although Portainer says it does not: a webhook, or the command line.
  ['inactive', ['ok', 'ok'], [], healthy, 'healthy'],
  ['inactive', ['ok', 'completed'], [], healthy, 'healthy'],
  // A start in flight.
  ['inactive', ['starting', 'starting'], [], starting, 'starting'],
  ['inactive', ['ok', 'starting'], ['web'], starting, 'starting'],
  // Leftovers of a start that failed.
  [
    'inactive',
    ['created', 'created'],
    [],
    { kind: 'repair', action: 'start', steps: steps(['start', 's0'], ['start', 's1']), fallback: 'replace' },
    'stopped',
  ],
  ['inactive', ['created'], ['web'], { kind: 'replace', action: 'start' }, 'stopped'],
  ['inactive', ['broken'], [], { kind: 'replace', action: 'start' }, 'unhealthy'],
  [
    'inactive',
    ['ok', 'stopped'],
    [],
    { kind: 'repair', action: 'restart', steps: steps(['start', 's1']), fallback: 'replace' },
    'partial',
  ],
  // Active and fine.
  ['active', ['ok', 'ok'], [], healthy, 'healthy'],
  ['active', ['ok', 'completed'], [], healthy, 'healthy'],
  ['active', ['ok', 'starting'], [], starting, 'starting'],
  ['active', ['starting'], ['db'], starting, 'starting'],
  // Active, and the gentle way is enough.
  [
    'active',
    ['stopped', 'stopped'],
    [],
    { kind: 'repair', action: 'start', steps: steps(['start', 's0'], ['start', 's1']), fallback: 'recreate' },
    'stopped',
  ],
  [
    'active',
    ['ok', 'stopped', 'completed'],
    [],
    { kind: 'repair', action: 'restart', steps: steps(['start', 's1']), fallback: 'recreate' },
    'partial',
  ],
  [
    'active',
    ['ok', 'unhealthy'],
    [],
    { kind: 'repair', action: 'restart', steps: steps(['restart', 's1']), fallback: 'recreate' },
    'unhealthy',
  ],
  [
    'active',
    ['crash-looping', 'starting'],
    [],
    { kind: 'repair', action: 'restart', steps: steps(['restart', 's0']), fallback: 'recreate' },
    'unhealthy',
  ],
  [
    'active',
    ['ok', 'paused'],
    [],
    { kind: 'repair', action: 'restart', steps: steps(['unpause', 's1']), fallback: 'recreate' },
    'unhealthy',
  ],
  [
    'active',
    ['ok', 'unhealthy', 'stopped', 'paused', 'created', 'crash-looping', 'completed'],
    [],
    {
      kind: 'repair',
      action: 'restart',
      steps: steps(['restart', 's1'], ['start', 's2'], ['unpause', 's3'], ['start', 's4'], ['restart', 's5']),
      fallback: 'recreate',
    },
    'unhealthy',
  ],
  // Active, and only new containers help.
  ['active', [], [], { kind: 'recreate', action: 'start' }, 'removed'],
  ['active', ['ok'], ['db'], { kind: 'recreate', action: 'restart' }, 'partial'],
  ['active', ['stopped'], ['db'], { kind: 'recreate', action: 'start' }, 'stopped'],
  ['active', ['ok', 'broken'], [], { kind: 'recreate', action: 'restart' }, 'unhealthy'],
];

/** Statuses 3 and 4 came with 2.4x. */
const newOnly: Row[] = [
  ['deploying', [], [], { kind: 'none', status: 'deploying' }, 'deploying'],
  ['deploying', ['stopped'], ['db'], { kind: 'none', status: 'deploying' }, 'deploying'],
  ['error', ['ok', 'completed'], [], healthy, 'healthy'],
  ['error', ['starting'], [], starting, 'starting'],
  ['error', [], [], { kind: 'recreate', action: 'start' }, 'removed'],
  ['error', ['ok'], ['db'], { kind: 'recreate', action: 'restart' }, 'partial'],
  ['error', ['broken'], [], { kind: 'recreate', action: 'start' }, 'unhealthy'],
  [
    'error',
    ['created'],
    [],
    { kind: 'repair', action: 'start', steps: steps(['start', 's0']), fallback: 'recreate' },
    'stopped',
  ],
];

describe.each([
  ['2.39 and before', both],
  ['2.4x', [...both, ...newOnly]],
])('the decision for a Portainer of %s', (_, rows) => {
  test.each(rows)('a stack that is %s with containers %j, missing %j: %j, in a word %s', (...row) => {
    const [status, classes, missing, plan, verdict] = row;
    const found = situation({
      stack: { type: 'compose', status: status as 'active' },
      containers: as(...classes),
      missing,
    });
    expect(decide(found)).toMatchObject(plan);
    expect(toVerdict(found)).toBe(verdict);
  });
});

describe('containers outside of Portainer’s stacks', () => {
  test.each<[ContainerClass[], object]>([
    [['ok'], healthy],
    [['starting'], starting],
    [
      ['ok', 'stopped', 'unhealthy', 'paused'],
      {
        kind: 'repair',
        action: 'restart',
        steps: steps(['start', 's1'], ['restart', 's2'], ['unpause', 's3']),
        fallback: 'none',
      },
    ],
    [['broken'], { kind: 'refuse', status: 409, code: 'external_stack' }],
  ])('%j: %j', (classes, plan) => {
    expect(decide(situation({ stack: undefined, containers: as(...classes) }))).toMatchObject(plan);
  });
});

describe('a Swarm stack', () => {
  const service = (fields: Partial<SwarmService> = {}): SwarmService => ({
    name: 'x_web',
    namespace: 'x',
    labels: {},
    image: 'app:1',
    updatedAtMs: 0,
    running: 1,
    desired: 1,
    isJob: false,
    ...fields,
  });
  test.each<[string, string, SwarmService[], object, string]>([
    ['inactive', 'without services', [], { kind: 'start-stack', action: 'start' }, 'removed'],
    ['active', 'with all of its tasks', [service()], healthy, 'healthy'],
    ['active', 'scaled to nothing on purpose', [service({ running: 0, desired: 0 })], healthy, 'healthy'],
    ['active', 'with a job that is done', [service(), service({ isJob: true, running: 0 })], healthy, 'healthy'],
    [
      'active',
      'whose tasks are being placed',
      [service({ running: 0, updatedAtMs: nowMs - 1_000 })],
      starting,
      'starting',
    ],
    [
      'active',
      'with a service that stays short',
      [service({ running: 0 }), service()],
      {
        kind: 'refuse',
        status: 422,
        code: 'unsupported_stack',
        message:
          'Service x is a Swarm stack (x_web runs 0 of 1): Swarm itself repairs its services, and does not manage to',
      },
      'partial',
    ],
    ['active', 'whose services were removed', [], { kind: 'recreate', action: 'start' }, 'removed'],
    ['deploying', 'at work', [], { kind: 'none', status: 'deploying' }, 'deploying'],
    ['error', 'without services', [], { kind: 'recreate', action: 'start' }, 'removed'],
  ])('that is %s and %s', (status, _, services, plan, verdict) => {
    const found = situation({ stack: { type: 'swarm', status: status as 'active' }, services });
    expect(decide(found)).toMatchObject(plan);
    expect(toVerdict(found)).toBe(verdict);
  });
});

describe('what is refused clearly', () => {
  test.each<[string, Partial<Situation>, string, RegExp]>([
    ['Kubernetes stacks', { stack: { type: 'kubernetes', status: 'inactive' } }, 'unsupported_stack', /Kubernetes/],
    ['stacks on Kubernetes', { endpointKind: 'kubernetes' }, 'unsupported_stack', /Kubernetes/],
    ['asynchronous edge agents', { endpointKind: 'edge-async' }, 'unsupported_environment', /asynchronous edge agent/],
    ['environments without Docker', { endpointKind: 'other' }, 'unsupported_environment', /no Docker/],
  ])('%s', (_, fields, code, message) => {
    expect(decide(situation(fields))).toMatchObject({
      kind: 'refuse',
      status: 422,
      code,
      message: expect.stringMatching(message),
    });
  });
});

describe('a stack that must not be stopped', () => {
  const protection = 'it holds the reverse proxy';
  test.each<[string, Partial<Situation>, object]>([
    ['without containers', {}, { kind: 'refuse', status: 409, code: 'protected_stack' }],
    ['with a dead one', { containers: as('ok', 'broken') }, { kind: 'refuse', code: 'protected_stack' }],
    [
      'with a stopped and a missing one: what can be mended is mended',
      { containers: as('stopped'), missing: ['web'] },
      { kind: 'repair', steps: steps(['start', 's0']), fallback: 'none' },
    ],
    ['with an unhealthy one', { containers: as('unhealthy') }, { kind: 'repair', fallback: 'none' }],
    [
      'that Portainer stopped itself',
      { stack: { type: 'compose', status: 'inactive' } },
      { kind: 'start-stack', action: 'start' },
    ],
  ])('%s', (_, fields, plan) => expect(decide(situation({ protection, ...fields }))).toMatchObject(plan));

  test.each<[string, object, string | undefined]>([
    ['Portainer by its own mark', { isPortainer: true }, 'it holds Portainer itself'],
    ['Portainer', { image: 'portainer/portainer-ce:2.39.1' }, 'it holds Portainer or OpenFaaS'],
    ['an agent', { image: 'docker.io/portainer/agent:2.39.1' }, 'it holds Portainer or OpenFaaS'],
    ['OpenFaaS', { image: 'ghcr.io/openfaas/gateway:0.27.12' }, 'it holds Portainer or OpenFaaS'],
    ['Traefik', { image: 'traefik:v3.3' }, 'it holds the reverse proxy'],
    ['nginx-proxy', { image: 'nginxproxy/nginx-proxy:1.7' }, 'it holds the reverse proxy'],
    ['port 443 of the host', { hostPorts: [443] }, 'it holds the reverse proxy'],
    ['a web server on the host’s network', { image: 'caddy:2', onHostNetwork: true }, 'it holds the reverse proxy'],
    ['a web server of its own', { image: 'nginx:1.29' }, undefined],
    ['an own port 8443', { hostPorts: [8443] }, undefined],
    ['a label', label('spot-start.protected', 'true'), 'it is labelled spot-start.protected'],
    ['port 80, and a label that says no', { hostPorts: [80], ...label('spot-start.protected', 'false') }, undefined],
    [
      'Portainer, whatever a label says',
      { isPortainer: true, ...label('spot-start.protected', 'false') },
      'it holds Portainer itself',
    ],
  ])('is one with %s', (_, fields, expected) => {
    expect(protectionOf('x', [container('a'), container('b', fields)], [])).toBe(expected);
  });

  test('is one that is listed by name', () => {
    expect(protectionOf('Core', [], ['core'])).toBe('it is listed in SPOT_START_PROTECTED');
  });
});

test('repairs what others depend on first', () => {
  const [app, db] = as('stopped', 'stopped') as [ClassifiedContainer, ClassifiedContainer];
  const containers = [{ ...app, dependsOn: { s1: 'service_started' } }, db];
  expect(decide(situation({ containers }))).toMatchObject({ steps: steps(['start', 's1'], ['start', 's0']) });
});

test('a circle of dependencies ends', () => {
  const circle = [container('a', { dependsOn: { b: '' } }), container('b', { dependsOn: { a: '' } })];
  expect(inDependencyOrder(circle).map(({ service }) => service)).toEqual(['b', 'a']);
});
