import { afterEach, expect, test } from 'vitest';
import create from '../../functions/lago-usage-push/index.ts';
import { type LagoSandbox, startLagoSandbox } from '../../sandbox/lago.ts';
import { type LitellmSandbox, startLitellmSandbox } from '../../sandbox/litellm.ts';
import { bodyOf, makeCall } from '../support/call.ts';

let litellm: LitellmSandbox;
let lago: LagoSandbox;
afterEach(() => Promise.all([litellm.close(), lago.close()]));

/** What the function says of itself, with these settings of its own. */
async function ask(env: Record<string, string> = {}, prepare: () => void = () => undefined, version = '1.101') {
  [litellm, lago] = await Promise.all([
    startLitellmSandbox({ profile: version }),
    startLagoSandbox({ profile: '1.12' }),
  ]);
  prepare();
  const handler = create({
    LITELLM_API_BASE_URL: litellm.url,
    LITELLM_API_KEY: 'sk-sandbox',
    LAGO_API_BASE: lago.url,
    LAGO_API_KEY: 'lago-sandbox',
    FUNCTION_API_KEY: 'ops:key',
    LOG_LEVEL: 'error',
    ...env,
  });
  const { event, context } = makeCall({ url: '/_doctor', headers: { 'x-api-key': 'key' } });
  const answer = await handler(event, context);
  await handler.close();
  const text = String(answer.body);
  return { text, ...(bodyOf(answer) as { durable: boolean; upstreams: Record<string, unknown>[] }) };
}

test('tells both versions and that the state goes with the replica, and asks what costs nothing', async () => {
  const { durable, upstreams } = await ask();
  expect(durable).toBe(false);
  expect(upstreams).toMatchObject([
    {
      name: 'LiteLLM',
      ok: true,
      version: expect.stringMatching(/^1\.\d+/),
      settings: expect.stringContaining('LITELLM_'),
    },
    { name: 'Lago', ok: true, version: '1.12.2', settings: 'LAGO_API_BASE, lago-api-key' },
  ]);
  expect(lago.ledger.map(({ method, path }) => `${method} ${path}`).sort()).toEqual([
    'GET /api/v1/billable_metrics',
    'GET /health',
  ]);
  expect(litellm.ledger.filter(({ path }) => path.startsWith('/spend'))).toEqual([]);
});

test.each([
  [{ LITELLM_API_KEY: 'sk-planted-wrong' }, 'LiteLLM', /^answered 401: check LITELLM_API_KEY/],
  [{ LITELLM_API_KEY: 'sk-alice' }, 'LiteLLM', /this key sees one user alone/],
  [{ LITELLM_API_BASE_URL: 'http://127.0.0.1:9' }, 'LiteLLM', /^network: check that LITELLM_API_BASE_URL/],
  [{ LAGO_API_KEY: 'planted-wrong' }, 'Lago', /^answered 401: check LAGO_API_BASE and the secret lago-api-key/],
  [{ LAGO_API_BASE: 'http://127.0.0.1:9' }, 'Lago', /^network/],
])('with %j says of %s what to look at, and of the other one that it is well', async (env, name, failure) => {
  const { text, upstreams } = await ask(env);
  expect(upstreams.find((item) => item.name === name)).toMatchObject({
    ok: false,
    failure: expect.stringMatching(failure),
  });
  expect(upstreams.filter((item) => item.ok === true)).toHaveLength(1);
  expect(text).not.toMatch(/planted|127\.0\.0\.1/);
});

test('takes a page of HTML for no Lago', async () => {
  const { upstreams } = await ask({}, () => lago.faults.push({ kind: 'html', times: 9 }));
  expect(upstreams[1]).toMatchObject({ ok: false, failure: 'invalid_response: check LAGO_API_BASE' });
});

test('says that LiteLLM 1.53.7 needs SOURCES=rollup before the first row has shown it', async () => {
  const nothing = () => undefined;
  const [litellmFinding] = (await ask({}, nothing, '1.53')).upstreams;
  expect(litellmFinding).toMatchObject({ ok: false, failure: expect.stringMatching(/1\.53\.7 has no rows by date/) });
  await Promise.all([litellm.close(), lago.close()]);
  const { upstreams } = await ask({ SOURCES: 'rollup', LAGO_API_CHARGE_BY: 'key' }, nothing, '1.53');
  expect(upstreams[0]).toMatchObject({ ok: true, version: '1.53.7' });
});
