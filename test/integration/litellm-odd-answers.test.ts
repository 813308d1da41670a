import { afterEach, describe, expect, it } from 'vitest';
import { createLitellmClient } from '#shared/clients/litellm.ts';
import { type Sandbox, sendJson, startSandbox } from '../../sandbox/server.ts';

let sandbox: Sandbox | undefined;
afterEach(() => sandbox?.close());

/** A client of a proxy that answers this, whatever it is asked. */
async function connect(status: number, body: unknown) {
  sandbox = await startSandbox({ name: 'odd', handle: ({ res }) => sendJson(res, status, body) });
  return createLitellmClient({ baseUrl: sandbox.url, apiKey: () => 'sk-1', timeoutMs: 2_000, attempts: 1 });
}

const window = { start: '2026-11-01', end: '2026-11-03' };

describe('an answer of /spend/logs', () => {
  it('with raw rows is refused, since they stop at 10,000 and are no total', async () => {
    const client = await connect(200, [
      { request_id: 'chatcmpl-1', spend: 1, startTime: '2026-11-01T10:00:00.000000Z', endTime: '' },
    ]);
    await expect(client.spendByDay(window)).rejects.toMatchObject({
      failure: 'invalid_response',
      advice: expect.stringContaining('update LiteLLM'),
    });
  });

  it('may hold nulls, amounts as text, missing amounts, times for days and unknown keys', async () => {
    const client = await connect(200, [
      null,
      { startTime: '2026-11-01T00:00:00', spend: '1.5e-07', users: {}, models: {}, ab12: 1, brand_new: [] },
      { startTime: '2026-11-02', users: {}, models: {} },
      { startTime: '2026-11-03', spend: 9 },
      { startTime: '2026-10-31', spend: 9 },
    ]);
    expect(await client.spendByDay(window)).toEqual([
      {
        day: '2026-11-01',
        spend: 150_000n,
        users: new Map(),
        models: new Map(),
        keys: new Map([['ab12', 10n ** 12n]]),
      },
      { day: '2026-11-02', spend: 0n, users: new Map(), models: new Map(), keys: new Map() },
    ]);
  });

  it.each([{ error: 'odd' }, [{ spend: 1 }], [{ startTime: '2026-11-01', spend: 'much' }], [17], null])(
    'that is %j is no total',
    async (body) => {
      const client = await connect(200, body);
      await expect(client.spendByDay(window)).rejects.toMatchObject({ failure: 'invalid_response' });
    },
  );
});

describe('a refusal', () => {
  it('for want of a database does not blame the key', async () => {
    const message = 'Prisma Client is not initialized';
    const client = await connect(401, { error: { message, type: 'internal_error', param: 'None', code: '401' } });
    await expect(client.spendByDay(window)).rejects.toMatchObject({ advice: 'connect LiteLLM to its database' });
  });

  it('of every route blames the address', async () => {
    const client = await connect(404, { detail: 'Not Found' });
    const rows = client.spendRows({ from: new Date('2026-11-01T00:00:00Z'), to: new Date('2026-11-02T00:00:00Z') });
    await expect(rows[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      status: 404,
      advice: expect.stringContaining('LITELLM_API_BASE_URL'),
    });
    expect(sandbox?.ledger.map(({ path }) => path)).toEqual(['/spend/logs/v2', '/spend/logs/ui', '/spend/logs']);
  });
});
