import { expect, test } from 'vitest';
import type { Candidate } from '../../../functions/spot-start-service/resolve/match.ts';
import { onFound } from '../../../functions/spot-start-service/run/found.ts';
import { createLooks, GoneError } from '../../../functions/spot-start-service/run/looks.ts';
import type { Observation } from '../../../functions/spot-start-service/run/observe.ts';
import type { Scope } from '../../../functions/spot-start-service/service.ts';
import { UpstreamError } from '../../../shared/errors.ts';
import { makeCall } from '../../support/call.ts';

const { log } = makeCall().context;
const cloud: Candidate = {
  name: 'cloud',
  project: 'cloud',
  endpoint: { id: 10, name: 'prod-vm-1', kind: 'docker' },
  stackId: 80,
};

function arrange(answer: () => Promise<Observation> = async () => ({ verdict: 'healthy' }) as Observation) {
  const its = { nowMs: 0, asked: 0, forgotten: 0 };
  const looks = createLooks({
    observe() {
      its.asked += 1;
      return answer();
    },
    jobs: { ended: () => 0 },
    onGone() {
      its.forgotten += 1;
    },
    now: () => its.nowMs,
  });
  return { its, ...looks };
}

test('those who only watch share a look for half a second, however many they are', async () => {
  const { its, look } = arrange();
  await Promise.all(Array.from({ length: 50 }, () => look(cloud, log)));
  its.nowMs += 499;
  await look(cloud, log);
  expect(its.asked).toBe(1);
  its.nowMs += 1;
  await look(cloud, log);
  expect(its.asked).toBe(2);
});

test('those who act share a look that is going on, and never one that has ended', async () => {
  const { its, lookNow } = arrange();
  await Promise.all([lookNow(cloud, log).seen, lookNow(cloud, log).seen]);
  expect(its.asked).toBe(1);
  await lookNow(cloud, log).seen;
  expect(its.asked).toBe(2);
});

test('a look that failed is not kept', async () => {
  const { its, look } = arrange(() => Promise.reject(new UpstreamError('Portainer', 'network', 'ECONNRESET')));
  await expect(look(cloud, log)).rejects.toThrow(UpstreamError);
  await expect(look(cloud, log)).rejects.toThrow(UpstreamError);
  expect(its).toMatchObject({ asked: 2, forgotten: 0 });
});

test('what is gone makes the index forget, and is searched for once more', async () => {
  const gone = () => Promise.reject(new UpstreamError('Portainer', 'status', 'not found', { status: 404 }));
  const { its, look } = arrange(gone);
  let resolved = 0;
  const service = {
    async resolve() {
      resolved += 1;
      return { ...cloud, labelled: false, hostIsKnown: false };
    },
  };
  await expect(onFound(service, {}, {} as Scope, (found) => look(found, log))).rejects.toThrow(GoneError);
  expect({ resolved, forgotten: its.forgotten }).toEqual({ resolved: 2, forgotten: 2 });
});
