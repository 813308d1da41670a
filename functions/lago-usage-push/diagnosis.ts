import { checkLagoAccess, type LagoHttpOptions, readLagoVersion } from '#shared/clients/lago-http.ts';
import type { LitellmClient } from '#shared/clients/litellm.ts';
import { UpstreamError } from '#shared/errors.ts';
import type { Diagnosis } from '#shared/http/doctor.ts';

/** What `npm run doctor` asks: whether both systems answer with the keys they are given, and what they are. */
export const diagnose = (parts: {
  litellm: Pick<LitellmClient, 'version' | 'ownScope'>;
  lago: LagoHttpOptions;
  isDurable: boolean;
  /** SOURCES has rows. */
  needsRows: boolean;
}): Diagnosis => ({
  upstreams: [
    {
      name: 'LiteLLM',
      settings: 'LITELLM_API_BASE_URL, litellm-api-key',
      async check(signal) {
        const [version, scope] = await Promise.all([parts.litellm.version(signal), parts.litellm.ownScope(signal)]);
        const fail = (advice: string) => new UpstreamError('LiteLLM', 'invalid_response', advice, { advice });
        if (scope.sees === 'one user') {
          throw fail('this key sees one user alone: take the master key or a proxy_admin_viewer key');
        }
        const [, minor] = /^1\.(\d+)\./.exec(version ?? '') ?? [];
        if (parts.needsRows && Number(minor) < 59) throw fail(`${version} has no rows by date: SOURCES needs rollup`);
        return version;
      },
    },
    {
      name: 'Lago',
      settings: 'LAGO_API_BASE, lago-api-key',
      async check(signal) {
        const [version] = await Promise.all([readLagoVersion(parts.lago, signal), checkLagoAccess(parts.lago, signal)]);
        return version;
      },
    },
  ],
  isDurable: parts.isDurable,
});
