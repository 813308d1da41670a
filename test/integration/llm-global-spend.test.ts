import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLitellmClient } from '#shared/clients/litellm.ts';
import { defineFunction } from '#shared/http/define.ts';
import { parseUsd, usdToNumber } from '#shared/money.ts';
import { createLlmGlobalSpend } from '../../functions/llm-global-spend/handler.ts';
import { openReports } from '../../functions/llm-global-spend/report/open.ts';
import { type LitellmSandbox, startLitellmSandbox } from '../../sandbox/litellm.ts';
import type { Fault } from '../../sandbox/server.ts';
import { bodyOf, makeCall } from '../support/call.ts';
import { createMemoryKv } from '../support/memory-kv.ts';

let sandbox: LitellmSandbox;
let now = new Date('2026-11-21T06:30:00Z');

beforeEach(async () => {
  now = new Date('2026-11-21T06:30:00Z');
  sandbox = await startLitellmSandbox({ seed: 3, now: () => now });
});
afterEach(() => sandbox.close());

async function ask(options: { apiKey?: string; timeoutMs?: number } = {}) {
  const { apiKey = 'sk-sandbox', timeoutMs = 5_000 } = options;
  const litellm = createLitellmClient({ baseUrl: sandbox.url, apiKey: () => apiKey, timeoutMs, attempts: 1 });
  const handler = createLlmGlobalSpend({
    reports: openReports({
      litellm,
      kv: createMemoryKv(),
      identity: () => 'test',
      epoch: '2023-12-01',
      now: () => now,
    }),
    now: () => now,
    deadlineMs: 10_000,
  });
  const { event, context } = makeCall();
  const wrapped = defineFunction({ authenticate: async () => ({ name: 'test', method: 'none' }) }, handler);
  const response = await wrapped(event, context);
  return { status: response.status, body: bodyOf(response) as Record<string, unknown> };
}

/** The sandbox's own rows, summed as integers over those whose time begins so. */
const costOf = (prefix: string) =>
  usdToNumber(
    sandbox.rows.filter((row) => row.startTime.startsWith(prefix)).reduce((sum, row) => sum + parseUsd(row.spend), 0n),
  );

describe('the totals', () => {
  it.each([
    '2026-11-21T06:30:00Z',
    '2026-11-01T00:00:00.500Z',
    '2026-10-31T23:59:59.999Z',
    '2027-01-01T12:00:00Z',
    '2028-02-29T23:00:00Z',
  ])('equal the rows of LiteLLM, summed exactly, at %s', async (moment) => {
    await sandbox.close();
    now = new Date(moment);
    sandbox = await startLitellmSandbox({ seed: 3, now: () => now });
    const iso = now.toISOString();
    expect(sandbox.rows.length).toBeGreaterThan(1_500);
    expect(costOf('')).toBeGreaterThan(0);
    expect(await ask()).toEqual({
      status: 200,
      body: {
        global_spend: costOf(''),
        current_month_spend: costOf(iso.slice(0, 7)),
        today_spend: costOf(iso.slice(0, 10)),
      },
    });
  });

  it('are zeros for a proxy without traffic', async () => {
    sandbox.rows.length = 0;
    expect((await ask()).body).toEqual({ global_spend: 0, current_month_spend: 0, today_spend: 0 });
  });

  it('count a row at midnight of the first of a month once', async () => {
    sandbox.rows.length = 0;
    sandbox.addRow({ startTime: '2026-11-01T00:00:00.000Z', spend: 0.25 });
    expect((await ask()).body).toEqual({ global_spend: 0.25, current_month_spend: 0.25, today_spend: 0 });
  });

  it('count the day that is not over, which LiteLLM leaves out when it is the end date', async () => {
    sandbox.rows.length = 0;
    sandbox.addRow({ startTime: '2026-11-21T06:29:59.999Z', spend: 0.1 });
    sandbox.addRow({ startTime: '2026-11-21T00:00:00.000Z', spend: 0.2 });
    expect((await ask()).body).toEqual({ global_spend: 0.3, current_month_spend: 0.3, today_spend: 0.3 });
  });

  it('keep fractions of a nano-dollar that floats lose', async () => {
    sandbox.rows.length = 0;
    for (let index = 0; index < 1_000; index++) {
      sandbox.addRow({ request_id: `tiny-${index}`, startTime: '2026-11-20T10:00:00.000Z', spend: 0.000000075 });
    }
    expect((await ask()).body).toMatchObject({ global_spend: 0.000075 });
  });
});

describe('trouble with LiteLLM', () => {
  it.each<[Fault, number, RegExp]>([
    [{ kind: 'status', status: 500 }, 502, /answered with an error: look into LiteLLM's log/],
    [{ kind: 'unauthorized' }, 502, /answered with an error: check LITELLM_API_KEY/],
    [{ kind: 'html' }, 502, /could not be understood: check that LITELLM_API_BASE_URL/],
    [{ kind: 'cut', afterBytes: 20 }, 502, /could not be reached: check that LITELLM_API_BASE_URL/],
    [{ kind: 'slow', delayMs: 2_000 }, 504, /did not answer in time: it had 250 ms: raise LITELLM_TIMEOUT_MS/],
  ])('answers the fault %j with %i and a sentence that says what to fix', async (fault, status, sentence) => {
    sandbox.addRow({ startTime: '2024-01-10T10:00:00.000Z', spend: 1 });
    // An empty month is shorter than the cut.
    sandbox.addRow({ startTime: '2023-12-10T10:00:00.000Z', spend: 1 });
    sandbox.faults.push(fault);
    const answer = await ask({ timeoutMs: 250 });
    expect(answer.status).toBe(status);
    expect(answer.body.error).toMatch(sentence);
    expect(answer.body).toMatchObject({ call_id: 'call-1' });
    expect(JSON.stringify(answer.body)).not.toMatch(/127\.0\.0\.1|sk-/);
  });

  it('blames the key when LiteLLM does not know it', async () => {
    const { status, body } = await ask({ apiKey: 'sk-wrong' });
    expect(status).toBe(502);
    expect(body).toMatchObject({
      code: 'upstream_status',
      error:
        'LiteLLM answered with an error: check LITELLM_API_KEY: it must be the master key or a proxy_admin_viewer key',
    });
  });
});
