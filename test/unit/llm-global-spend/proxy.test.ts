import { describe, expect, it } from 'vitest';
import type { SpendRow } from '#shared/clients/litellm.ts';
import { openReports } from '../../../functions/llm-global-spend/report/open.ts';
import { toQuery } from '../../../functions/llm-global-spend/report/report.ts';
import { createProxyFacts } from '../../../functions/llm-global-spend/sources/proxy.ts';
import { createFakeLitellm } from '../../support/fake-litellm.ts';
import { createMemoryKv } from '../../support/memory-kv.ts';

const hourMs = 3_600_000;

describe('what a proxy was found to lack', () => {
  it('is believed for six hours, by every replica, and then asked for again', async () => {
    const clock = { now: 1_000 };
    const kv = createMemoryKv();
    const replica = (identity = 'proxy and key') =>
      createProxyFacts({
        litellm: createFakeLitellm({}),
        kv,
        identity: () => identity,
        epoch: '2026-01-01',
        now: () => clock.now,
      });
    const first = replica();
    expect(await first.lacks('aggregated')).toBe(false);
    await first.noteLack('aggregated');
    for (const facts of [first, replica()]) expect(await facts.lacks('aggregated')).toBe(true);
    expect(await first.lacks('rows')).toBe(false);
    expect(await replica('another key').lacks('aggregated')).toBe(false);
    clock.now += 6 * hourMs - 1;
    for (const facts of [first, replica()]) expect(await facts.lacks('aggregated')).toBe(true);
    clock.now += 1;
    for (const facts of [first, replica()]) expect(await facts.lacks('aggregated')).toBe(false);
  });

  it('is used once the proxy has been updated, six hours later at most', async () => {
    let [nowMs, isUpdated, asked] = [Date.parse('2026-11-21T00:30:00Z'), false, 0];
    const lacking = createFakeLitellm({});
    const page = { days: [], hasMore: false, totalPages: 1, keyAliases: new Map() };
    const reports = openReports({
      litellm: createFakeLitellm({
        aggregatedActivity: (window) => (isUpdated ? Promise.resolve(page) : lacking.aggregatedActivity(window)),
        activityPage: async (window) => {
          asked += 1;
          return isUpdated ? { ...page, days: [{ ...emptyDay, day: '2026-11-01' }] } : lacking.activityPage(window);
        },
      }),
      kv: createMemoryKv(),
      identity: () => 'x',
      epoch: '2026-11-01',
      now: () => new Date(nowMs),
    });
    const { signal } = new AbortController();
    const source = async () =>
      (await reports.read(toQuery({ startDate: '2026-11-01', endDate: '2026-11-21' }), { signal })).source;
    expect(await source()).toBe('spend_logs_summary');
    const found = asked;
    expect(found).toBeGreaterThan(0);
    isUpdated = true;
    nowMs += 5 * hourMs;
    expect(await source()).toBe('spend_logs_summary');
    expect(asked).toBe(found);
    nowMs += hourMs;
    expect(await source()).toBe('daily_activity_aggregated');
  });
});

const nothing = { spend: 0n, requests: 0, inputTokens: 0, outputTokens: 0, totalTokens: 0 };
const emptyDay = { total: nothing, keys: new Map(), models: new Map(), providers: new Map() };

describe('single requests', () => {
  it('are read by four windows at once, each a day, and no more', async () => {
    let [running, most, windows] = [0, 0, 0];
    async function* rowBatches(): AsyncGenerator<SpendRow[]> {
      most = Math.max(most, ++running);
      windows += 1;
      await new Promise(setImmediate);
      running -= 1;
      yield [];
    }
    const reports = openReports({
      litellm: createFakeLitellm({ rowBatches }),
      kv: createMemoryKv(),
      identity: () => 'x',
      epoch: '2026-10-01',
      now: () => new Date('2026-11-21T12:00:00Z'),
    });
    const query = toQuery({ startDate: '2026-10-20', endDate: '2026-11-21', groupBy: ['team'] });
    await reports.read(query, { signal: new AbortController().signal });
    expect({ windows, most }).toEqual({ windows: 33, most: 4 });
  });
});
