import type { LitellmClient, SpendDay } from '#shared/clients/litellm.ts';
import { UpstreamError } from '#shared/errors.ts';
import type { PicoUsd } from '#shared/money.ts';

const lacking = async (): Promise<never> => {
  throw new UpstreamError('LiteLLM', 'status', '{"detail":"Not Found"}', { status: 404 });
};

/** A client without a proxy: the routes of 1.53.7, and what the test puts over them. */
export function createFakeLitellm(over: Partial<LitellmClient>): LitellmClient {
  async function* lackingRows(): AsyncGenerator<never> {
    yield await lacking();
  }
  return {
    spendByDay: async () => [],
    aggregatedActivity: lacking,
    activityPage: lacking,
    spendRows: lackingRows,
    rowBatches: lackingRows,
    allRowBatches: lackingRows,
    keys: async () => [],
    users: async () => [],
    teams: async () => [],
    endUsers: async () => [],
    version: async () => '1.101.0',
    ownScope: async () => ({ sees: 'everything' }),
    ...over,
  };
}

/** A day of the summary with no more than its sum. */
export const spendDay = (day: string, spend: PicoUsd): SpendDay => ({
  day,
  spend,
  users: new Map([['', spend]]),
  models: new Map([['', spend]]),
  keys: new Map([['', spend]]),
});
