import { describe, expect, test } from 'vitest';
import {
  type ClassifiedContainer,
  type ContainerClass,
  classifyContainers,
  inDependencyOrder,
  type ObservedContainer,
} from '../../../functions/spot-start-service/containers.ts';
import { decide, type Situation } from '../../../functions/spot-start-service/decide.ts';

const nowMs = 1_000_000_000;

function container(service: string, fields: Partial<ObservedContainer> = {}): ObservedContainer {
  return {
    id: service,
    name: `x-${service}-1`,
    state: 'running',
    health: 'none',
    exitCode: undefined,
    createdAtMs: 0,
    labels: {},
    isPortainer: false,
    service,
    dependsOn: {},
    ...fields,
  };
}

const job = { restartPolicy: 'no', hasHealthcheck: false, publishesPorts: false };
const exited = (exitCode: number, fields: Partial<ObservedContainer> = {}) => ({
  state: 'exited',
  exitCode,
  ...fields,
});

describe('a container is', () => {
  test.each<[ContainerClass, string, Partial<ObservedContainer>]>([
    ['ok', 'running without a healthcheck', {}],
    ['ok', 'running and healthy', { health: 'healthy' }],
    ['starting', 'running while its healthcheck says starting', { health: 'starting' }],
    ['unhealthy', 'running and unhealthy', { health: 'unhealthy' }],
    ['starting', 'restarting for a moment', { state: 'restarting', exitCode: 1, createdAtMs: nowMs - 1_000 }],
    ['unhealthy', 'restarting since long', { state: 'restarting', exitCode: 1, createdAtMs: nowMs - 600_000 }],
    ['completed', 'a job that exited with 0', exited(0, { inspection: job })],
    ['stopped', 'exited with 0 under a restart policy', exited(0, { inspection: { ...job, restartPolicy: 'always' } })],
    ['stopped', 'exited with 0 and has a healthcheck', exited(0, { inspection: { ...job, hasHealthcheck: true } })],
    ['stopped', 'exited with 0 and publishes a port', exited(0, { inspection: { ...job, publishesPorts: true } })],
    ['stopped', 'exited with 0 and is routed', exited(0, { inspection: job, labels: { 'traefik.enable': 'true' } })],
    ['stopped', 'exited with 137', exited(137, { inspection: job })],
    ['created', 'created long ago', { state: 'created' }],
    ['starting', 'created by a start in flight', { state: 'created', createdAtMs: nowMs - 5_000 }],
    ['paused', 'paused', { state: 'paused' }],
    ['broken', 'dead', { state: 'dead' }],
  ])('%s when it is %s', (expected, _, fields) => {
    const [found] = classifyContainers([container('x', fields), container('web')], nowMs);
    expect(found?.class).toBe(expected);
  });

  test('completed when another service waits for it to complete, whatever it looks like', () => {
    const server = { restartPolicy: 'no', hasHealthcheck: true, publishesPorts: true };
    const web = container('web', { dependsOn: { migrate: 'service_completed_successfully' } });
    const found = classifyContainers([container('migrate', exited(0, { inspection: server })), web], nowMs);
    expect(found[0]?.class).toBe('completed');
  });

  test('stopped rather than completed when all of its stack has exited', () => {
    const found = classifyContainers(
      [container('a', exited(0, { inspection: job })), container('b', exited(143))],
      nowMs,
    );
    expect(found.map((item) => item.class)).toEqual(['stopped', 'stopped']);
  });
});

const as = (...classes: ContainerClass[]): ClassifiedContainer[] =>
  classes.map((found, index) => ({ ...container(`s${index}`), class: found }));
const steps = (...list: [string, string][]) => list.map(([kind, containerId]) => ({ kind, containerId }));

describe('the decision', () => {
  type Row = [status: string | null, containers: ContainerClass[], missing: string[], plan: object];
  test.each<Row>([
    ['inactive', [], [], { kind: 'start-stack', action: 'start' }],
    ['inactive', ['ok', 'ok'], [], { kind: 'none', status: 'healthy' }],
    ['inactive', ['starting', 'starting'], [], { kind: 'none', status: 'starting' }],
    [
      'inactive',
      ['created'],
      [],
      { kind: 'repair', action: 'start', steps: steps(['start', 's0']), fallback: 'replace' },
    ],
    ['inactive', ['broken'], [], { kind: 'replace', action: 'start' }],
    ['active', ['ok', 'completed'], [], { kind: 'none', status: 'healthy' }],
    ['active', ['ok', 'starting'], [], { kind: 'none', status: 'starting' }],
    ['active', [], [], { kind: 'recreate', action: 'start' }],
    ['active', ['ok'], ['db'], { kind: 'recreate', action: 'restart' }],
    ['active', ['ok', 'broken'], [], { kind: 'recreate', action: 'restart' }],
    ['active', ['starting'], ['db'], { kind: 'none', status: 'starting' }],
    [
      'active',
      ['ok', 'unhealthy', 'stopped', 'paused', 'completed'],
      [],
      {
        kind: 'repair',
        action: 'restart',
        steps: steps(['restart', 's1'], ['start', 's2'], ['unpause', 's3']),
        fallback: 'recreate',
      },
    ],
    [
      'active',
      ['stopped', 'stopped'],
      [],
      { kind: 'repair', action: 'start', steps: steps(['start', 's0'], ['start', 's1']), fallback: 'recreate' },
    ],
    ['deploying', [], [], { kind: 'none', status: 'starting' }],
    ['error', ['ok'], [], { kind: 'none', status: 'healthy' }],
    ['error', [], [], { kind: 'recreate', action: 'start' }],
    [null, ['ok'], [], { kind: 'none', status: 'healthy' }],
    [null, ['stopped'], [], { kind: 'refuse', status: 409, code: 'external_stack' }],
  ])('about a stack that is %s with containers %j, missing %j, is %j', (status, containers, missing, plan) => {
    const stack = status === null ? undefined : { type: 'compose' as const, status: status as 'active' };
    expect(decide({ name: 'x', stack, containers: as(...containers), missing })).toMatchObject(plan);
  });

  test.each<[string, Partial<Situation>, string]>([
    ['Kubernetes stacks', { stack: { type: 'kubernetes', status: 'inactive' } }, 'unsupported_stack'],
    ['active Swarm stacks', { stack: { type: 'swarm', status: 'active' } }, 'unsupported_stack'],
    [
      'to stop the stack that Portainer itself runs in',
      { containers: [{ ...as('ok')[0]!, isPortainer: true }], missing: ['db'] },
      'protected_stack',
    ],
  ])('refuses %s', (_, fields, code) => {
    const situation = { name: 'x', stack: { type: 'compose', status: 'active' } as const, containers: [], missing: [] };
    expect(decide({ ...situation, ...fields })).toMatchObject({ kind: 'refuse', status: 409, code });
  });

  test('repairs what others depend on first', () => {
    const [app, db] = as('stopped', 'stopped') as [ClassifiedContainer, ClassifiedContainer];
    const containers = [{ ...app, dependsOn: { s1: 'service_started' } }, db];
    const plan = decide({ name: 'x', stack: { type: 'compose', status: 'active' }, containers, missing: [] });
    expect(plan).toMatchObject({ steps: steps(['start', 's1'], ['start', 's0']) });
  });
});

test('a circle of dependencies ends', () => {
  const circle = [container('a', { dependsOn: { b: '' } }), container('b', { dependsOn: { a: '' } })];
  expect(inDependencyOrder(circle).map(({ service }) => service)).toEqual(['b', 'a']);
});
