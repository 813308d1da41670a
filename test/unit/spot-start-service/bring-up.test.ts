import { expect, test } from 'vitest';
import type { Candidate } from '../../../functions/spot-start-service/resolve/match.ts';
import type { Actor } from '../../../functions/spot-start-service/run/act.ts';
import { createBringUp, type Done } from '../../../functions/spot-start-service/run/bring-up.ts';
import type { Jobs } from '../../../functions/spot-start-service/run/jobs.ts';
import type { Observation } from '../../../functions/spot-start-service/run/observe.ts';
import type { Watcher } from '../../../functions/spot-start-service/run/watch.ts';
import { makeCall } from '../../support/call.ts';

const { log } = makeCall().context;
const cloud = {
  name: 'cloud',
  project: 'cloud',
  endpoint: { id: 10, name: 'vm', kind: 'docker' },
  stackId: 80,
} as const;
const asleep = { name: 'cloud', stack: { status: 'inactive', type: 'compose' }, endpointKind: 'docker' };
const sleeping = { ...asleep, containers: [], missing: [], verdict: 'removed' } as unknown as Observation;
const awake = { ...sleeping, containers: [{ class: 'ok' }], verdict: 'healthy' } as unknown as Observation;

function arrange(seen: Observation[]) {
  const deeds: string[] = [];
  const { bringUp } = createBringUp({
    async observe() {
      deeds.push('look');
      return seen.shift() as Observation;
    },
    actor: {
      async carryOut(_: Candidate, { kind }: { kind: string }) {
        deeds.push(kind);
        return 'done';
      },
    } as unknown as Actor,
    watcher: {} as Watcher,
    jobs: {} as Jobs<Done>,
  });
  return { deeds, bringUp };
}

test('acts on what it sees while it is held', async () => {
  const { deeds, bringUp } = arrange([sleeping, awake]);
  expect(await bringUp(cloud, { log, stillHeld: async () => true })).toEqual({ action: 'start', seen: awake });
  expect(deeds).toEqual(['look', 'start-stack', 'look']);
});

test('looks again when the lease was lost, and does nothing where another replica has done it', async () => {
  const { deeds, bringUp } = arrange([sleeping, awake]);
  expect(await bringUp(cloud, { log, stillHeld: async () => false })).toEqual({ action: 'none', seen: awake });
  expect(deeds).toEqual(['look', 'look']);
});
