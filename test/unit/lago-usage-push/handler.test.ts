import { describe, expect, test } from 'vitest';
import { json } from '#shared/http/respond.ts';
import { createHandler } from '../../../functions/lago-usage-push/handler.ts';
import { createRoutes } from '../../../functions/lago-usage-push/routes.ts';
import type { RunSummary } from '../../../functions/lago-usage-push/schedule/report.ts';
import { bodyOf, makeCall } from '../../support/call.ts';

const summary = { rows: 3, sent: 2 } as RunSummary;

function start() {
  const runs: boolean[] = [];
  const run = async ({ dryRun }: { dryRun: boolean }) => {
    runs.push(dryRun);
    return summary;
  };
  const operations = { '/usage': { GET: async () => json(200, { usage: true }) } };
  const answer = async () => json(200, { own: true });
  const parts = {
    run,
    webhook: answer,
    usage: answer,
    deadLetters: { list: answer, retry: answer },
    metrics: { render: () => '# none' },
  };
  const handler = createHandler(createRoutes({ ...parts, operations }));
  const call = (options: Parameters<typeof makeCall>[0], method: 'api-key' | 'scheduled-tick' = 'api-key') => {
    const { event, context } = makeCall(options);
    return handler(event, { ...context, caller: { name: 'test', method } });
  };
  return { runs, call };
}

test('answers POST / with the summary of the run', async () => {
  const { runs, call } = start();
  const response = await call({ method: 'POST' });
  expect(response.status).toBe(200);
  expect(bodyOf(response)).toEqual(summary);
  expect(runs).toEqual([false]);
});

test('only looks where dry_run is true, and refuses anything but true and false', async () => {
  const { runs, call } = start();
  await call({ method: 'POST', url: '/?dry_run=true' });
  expect(runs).toEqual([true]);
  await expect(call({ method: 'POST', url: '/?dry_run=yes' })).rejects.toMatchObject({ status: 400 });
  expect(runs).toHaveLength(1);
});

test('accepts a scheduled tick at once and runs after it', async () => {
  const { runs, call } = start();
  const response = await call({ method: 'POST' }, 'scheduled-tick');
  expect([response.status, bodyOf(response)]).toEqual([202, { accepted: true }]);
  expect(runs).toEqual([false]);
});

describe('refuses', () => {
  test.each(['GET', 'PUT', 'DELETE', 'PATCH'])('%s with 405 and pushes nothing', async (method) => {
    const { runs, call } = start();
    await expect(call({ method })).rejects.toMatchObject({ status: 405, headers: { Allow: 'POST' } });
    expect(runs).toEqual([]);
  });

  test.each(['constructor', '__proto__'])('the method %s, which every object has', async (method) => {
    await expect(start().call({ method })).rejects.toMatchObject({ status: 405 });
  });

  test('another path with 404', async () => {
    await expect(start().call({ method: 'POST', url: '/other' })).rejects.toMatchObject({ status: 404 });
  });
});

test('answers the routes that are hung beside its own, also on a path of its own', async () => {
  const { runs, call } = start();
  expect(bodyOf(await call({ method: 'GET', url: '/usage?customer=acme' }))).toEqual({ usage: true });
  expect(bodyOf(await call({ method: 'POST', url: '/usage' }))).toEqual({ own: true });
  await expect(call({ method: 'PUT', url: '/usage' })).rejects.toMatchObject({ headers: { Allow: 'POST, GET' } });
  expect(runs).toEqual([]);
});
