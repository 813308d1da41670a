import { afterEach, describe, expect, it } from 'vitest';
import create from '../../functions/llm-global-spend/index.ts';
import { type LitellmSandbox, type LitellmSandboxOptions, startLitellmSandbox } from '../../sandbox/litellm.ts';
import type { Fault } from '../../sandbox/server.ts';
import { bodyOf, makeCall } from '../support/call.ts';

let sandbox: LitellmSandbox;
let close: () => Promise<void>;
afterEach(async () => {
  await close();
  await sandbox.close();
});

async function examine(options: LitellmSandboxOptions = {}, env: Record<string, string> = {}, fault?: Fault) {
  sandbox = await startLitellmSandbox(options);
  if (fault !== undefined) sandbox.faults.push(fault);
  const spend = create({
    LITELLM_API_BASE_URL: sandbox.url,
    LITELLM_API_KEY: 'sk-sandbox',
    AUTH: 'none',
    SECRET_MOUNT_PATH: '/nonexistent',
    LOG_LEVEL: 'error',
    ...env,
  });
  close = spend.close;
  const { event, context } = makeCall({ url: '/_doctor' });
  const answer = bodyOf(await spend(event, context)) as { durable: unknown; upstreams: Record<string, unknown>[] };
  return { durable: answer.durable, litellm: answer.upstreams[0]! };
}

describe('npm run doctor', () => {
  it.each([
    ['1.53', '1.53.7'],
    ['1.79', '1.79.0'],
    ['1.101', '1.101.0'],
  ])('is told that LiteLLM %s is well, and its version, by three small calls', async (profile, version) => {
    const { durable, litellm } = await examine({ profile });
    expect({ durable, litellm }).toEqual({
      durable: false,
      litellm: {
        name: 'LiteLLM',
        settings: 'LITELLM_API_BASE_URL, litellm-api-key',
        ok: true,
        version,
        duration_ms: expect.any(Number),
      },
    });
    expect(sandbox.ledger.map(({ path }) => path)).toEqual(['/spend/logs', '/key/info', '/health/readiness']);
  });

  it.each([
    [{}, { LITELLM_API_KEY: 'sk-wrong' }, /^answered 401: check LITELLM_API_KEY/],
    [{}, { LITELLM_API_KEY: 'sk-spent' }, /^answered 400: the budget of LITELLM_API_KEY is used up/],
    [{}, { LITELLM_API_KEY: 'sk-alice' }, /^answered 200: the key shows one internal user alone/],
    [{ database: false }, {}, /^answered 500: connect LiteLLM to its database/],
    [{}, { LITELLM_API_BASE_URL: 'http://127.0.0.1:1' }, /^network: check that LITELLM_API_BASE_URL/],
  ])('is told what to change with %j and %j', async (options, env, failure) => {
    const { litellm } = await examine(options, env);
    expect(litellm).toMatchObject({ ok: false, failure: expect.stringMatching(failure) });
    expect(JSON.stringify(litellm)).not.toMatch(/sk-|127\.0\.0\.1/);
  });

  it('takes a viewer’s key, and a proxy that does not tell its version', async () => {
    const closed: Fault = { kind: 'status', status: 403, path: 'readiness' };
    const { litellm } = await examine({}, { LITELLM_API_KEY: 'sk-auditor' }, closed);
    expect(litellm).toMatchObject({ ok: true, version: null });
  });
});
