import { describe, expect, it } from 'vitest';
import type { LitellmClient } from '#shared/clients/litellm.ts';
import { UpstreamError } from '#shared/errors.ts';
import { defineFunction } from '#shared/http/define.ts';
import { parseUsd } from '#shared/money.ts';
import { createLlmGlobalSpend } from '../../../functions/llm-global-spend/handler.ts';
import create from '../../../functions/llm-global-spend/index.ts';
import { openReports } from '../../../functions/llm-global-spend/report/open.ts';
import { bodyOf, type CallOptions, makeCall } from '../../support/call.ts';
import { createFakeLitellm, spendDay } from '../../support/fake-litellm.ts';
import { createMemoryKv } from '../../support/memory-kv.ts';

type ReadDays = LitellmClient['spendByDay'];

/** A client over these days that keeps to its promise: half-open windows. */
function over(days: Record<string, string>): ReadDays {
  return async ({ start, end }) =>
    Object.entries(days)
      .filter(([day]) => day >= start && day < end)
      .map(([day, spend]) => spendDay(day, parseUsd(spend)));
}

async function ask(options: { now?: string; spendByDay?: ReadDays; call?: CallOptions; epoch?: string } = {}) {
  const { now = '2026-11-21T06:30:00Z', spendByDay = over({}), call, epoch = '2026-09-01' } = options;
  const handler = createLlmGlobalSpend({
    reports: openReports({
      litellm: createFakeLitellm({ spendByDay }),
      kv: createMemoryKv(),
      identity: () => 'test',
      epoch,
      now: () => new Date(now),
    }),
    now: () => new Date(now),
    deadlineMs: 5_000,
  });
  const wrapped = defineFunction({ authenticate: async () => ({ name: 'test', method: 'none' }) }, handler);
  const { event, context } = makeCall(call);
  const response = await wrapped(event, context);
  return { response, body: bodyOf(response) as Record<string, unknown> };
}

describe('GET /', () => {
  const spendByDay = over({
    '2026-09-30': '0.1',
    '2026-10-31': '0.2',
    '2026-11-01': '0.3',
    '2026-11-21': '0.000000075',
    '2026-11-22': '5',
  });

  it('answers exactly the three sums', async () => {
    const { response, body } = await ask({ spendByDay });
    expect(response.status).toBe(200);
    expect(body).toEqual({ global_spend: 0.600000075, current_month_spend: 0.300000075, today_spend: 7.5e-8 });
  });

  it.each([
    ['2026-11-01T00:00:00.000Z', { global_spend: 0.6, current_month_spend: 0.3, today_spend: 0.3 }],
    ['2026-10-31T23:59:59.999Z', { global_spend: 0.3, current_month_spend: 0.2, today_spend: 0.2 }],
    ['2026-12-31T12:00:00Z', { global_spend: 5.600000075, current_month_spend: 0, today_spend: 0 }],
    ['2027-01-01T00:00:00Z', { global_spend: 5.600000075, current_month_spend: 0, today_spend: 0 }],
  ])('is right at %s', async (now, sums) => {
    expect((await ask({ spendByDay, now })).body).toEqual(sums);
  });

  it('is right on a leap day and on the day after it', async () => {
    const leap = over({ '2028-02-28': '1', '2028-02-29': '2', '2028-03-01': '4' });
    const epoch = '2028-01-01';
    const [onIt, after] = await Promise.all([
      ask({ spendByDay: leap, epoch, now: '2028-02-29T23:59:59Z' }),
      ask({ spendByDay: leap, epoch, now: '2028-03-01T00:00:00Z' }),
    ]);
    expect(onIt.body).toEqual({ global_spend: 3, current_month_spend: 3, today_spend: 2 });
    expect(after.body).toEqual({ global_spend: 7, current_month_spend: 4, today_spend: 4 });
  });

  it('reads every month once and no more than four at a time', async () => {
    const windows: string[] = [];
    let [running, most] = [0, 0];
    await ask({
      epoch: '2023-12-01',
      async spendByDay({ start, end }) {
        windows.push(`${start} ${end}`);
        most = Math.max(most, ++running);
        await new Promise(setImmediate);
        running--;
        return [];
      },
    });
    expect(windows).toHaveLength(36);
    expect(new Set(windows).size).toBe(36);
    expect(windows[0]).toBe('2026-11-01 2026-11-22');
    expect(most).toBe(4);
  });

  it('stops reading after the first failure', async () => {
    let asked = 0;
    const { response } = await ask({
      epoch: '2023-12-01',
      async spendByDay() {
        asked++;
        throw new UpstreamError('LiteLLM', 'network', 'refused');
      },
    });
    expect(response.status).toBe(502);
    expect(asked).toBeLessThanOrEqual(4);
  });
});

describe('refusals', () => {
  it.each(['PUT', 'DELETE', 'HEAD'])('answers %s with 405 and the method that it takes', async (method) => {
    const { response, body } = await ask({ call: { method } });
    expect(response.status).toBe(405);
    expect(response.headers).toMatchObject({ Allow: 'GET, POST' });
    expect(body).toMatchObject({ code: 'method_not_allowed', error: `This path answers GET, POST, not ${method}` });
  });

  it('answers 404 on another path', async () => {
    const { response, body } = await ask({ call: { url: '/spend' } });
    expect(response.status).toBe(404);
    expect(body).toMatchObject({ code: 'not_found' });
  });

  it('names the query parameter that it does not know', async () => {
    const { response, body } = await ask({ call: { url: '/?user=alice' } });
    expect(response.status).toBe(400);
    expect(body.error).toContain('"user": this function takes start_date, end_date, group_by');
  });

  it.each([
    ['timeout', 504],
    ['network', 502],
    ['status', 502],
    ['invalid_response', 502],
  ] as const)('answers a LiteLLM %s with %i and the advice', async (failure, status) => {
    const { response, body } = await ask({
      async spendByDay() {
        throw new UpstreamError('LiteLLM', failure, 'sk-secret refused', { advice: 'check LITELLM_API_KEY' });
      },
    });
    expect(response.status).toBe(status);
    expect(body.error).toMatch(/^LiteLLM .*: check LITELLM_API_KEY$/);
    expect(String(response.body)).not.toContain('sk-secret');
  });
});

describe('start', () => {
  const env = { SECRET_MOUNT_PATH: '/nowhere', AUTH: 'none' };

  it('names every missing and bad setting', () => {
    expect(() => create({ ...env, LITELLM_EPOCH: '2027-02-29', LITELLM_TIMEOUT_MS: 'soon' })).toThrow(
      /LITELLM_API_BASE_URL.*litellm-api-key.*LITELLM_TIMEOUT_MS.*LITELLM_EPOCH/s,
    );
  });

  it('needs only the address and the key, and no network', () => {
    const handler = create({ ...env, LITELLM_API_BASE_URL: 'http://litellm:4000/', LITELLM_API_KEY: 'sk-1' });
    expect(handler).toBeTypeOf('function');
  });
});
