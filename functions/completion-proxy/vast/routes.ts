import { HttpError } from '#shared/errors.ts';
import { json } from '#shared/http/respond.ts';
import type { Backend } from '../backends/backend.ts';
import type { Limits } from '../callers/limits.ts';
import type { OwnRoute } from '../own/routes.ts';
import { adminOnly } from '../records/parameters.ts';

/**
 * `GET /_proxy/vast/endpoints`: the endpoints of the account, and which of them a backend uses; no key. Throws HttpError
 * 403, and 404 where there is no account key.
 */
export const endpointsRoute = (
  backends: readonly Backend[],
  account: { key: () => string | undefined; consoleUrl: string },
  limits: Pick<Limits, 'isAdmin'>,
): OwnRoute => ({
  method: 'GET',
  path: '/vast/endpoints',
  isPrefixedOnly: true,
  async answer(_event, { caller, signal }) {
    if (!limits.isAdmin(caller.name)) throw adminOnly();
    const key = account.key();
    if (key === undefined) {
      throw new HttpError(404, 'There is no account to ask: create the secret vast-account-key', {
        code: 'no_account_key',
      });
    }
    const { listEndpoints } = await import('./account.ts');
    const endpoints = await listEndpoints(account.consoleUrl, key, { signal });
    return json(200, {
      endpoints: endpoints.map(({ id, name }) => ({
        id,
        name,
        backends: backends.filter(({ vast }) => vast?.endpoint === name).map((backend) => backend.name),
      })),
    });
  },
});
