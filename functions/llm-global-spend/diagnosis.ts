import type { LitellmClient } from '#shared/clients/litellm.ts';
import { UpstreamError } from '#shared/errors.ts';
import type { UpstreamCheck } from '#shared/http/doctor.ts';
import { toDay } from './days.ts';

type Litellm = Pick<LitellmClient, 'spendByDay' | 'ownScope' | 'version'>;

/** What `npm run doctor` asks about the proxy: whether it answers, has its database, and shows this key everything. */
export const checkOf = (litellm: Litellm, now: () => Date): UpstreamCheck => ({
  name: 'LiteLLM',
  settings: 'LITELLM_API_BASE_URL, litellm-api-key',
  async check(signal) {
    const today = toDay(now());
    // A window of nothing: what every other read needs, and the cheapest of them.
    await litellm.spendByDay({ start: today, end: today, signal });
    const scope = await litellm.ownScope(signal);
    if (scope.sees === 'one user') {
      const advice = 'the key shows one internal user alone: use the master key or a proxy_admin_viewer key';
      throw new UpstreamError('LiteLLM', 'status', `scoped to ${scope.userId}`, { status: 200, advice });
    }
    try {
      return await litellm.version(signal);
    } catch (error) {
      // The spend is there, and that is what counts: the health routes may be closed.
      if (error instanceof UpstreamError && !signal.aborted) return undefined;
      throw error;
    }
  },
});
