import { createHttpClient } from '#shared/clients/http.ts';
import { UpstreamError } from '#shared/errors.ts';

export interface AccountEndpoint {
  id: number;
  name: string;
  apiKey: string;
}

/** The endpoints of an account with their keys. Throws UpstreamError. */
export async function listEndpoints(
  consoleUrl: string,
  accountKey: string,
  options: { instance?: string; signal?: AbortSignal } = {},
): Promise<AccountEndpoint[]> {
  const client = createHttpClient({
    service: 'Vast.ai',
    baseUrl: consoleUrl,
    timeoutMs: 10_000,
    headers: () => ({ Authorization: `Bearer ${accountKey}` }),
    advice: { 401: 'check vast-account-key', 403: 'check vast-account-key' },
  });
  const { body } = await client.requestJson({
    path: '/api/v0/endptjobs/',
    query: { autoscaler_instance: options.instance ?? 'prod' },
    signal: options.signal,
  });
  const { results } = (body ?? {}) as { results?: unknown };
  if (!Array.isArray(results)) throw new UpstreamError('Vast.ai', 'invalid_response', 'no list of endpoints');
  return (results as (Record<string, unknown> | null)[]).flatMap((result) => {
    const { id, endpoint_name: name, api_key: apiKey } = result ?? {};
    const isWhole = typeof id === 'number' && typeof name === 'string' && typeof apiKey === 'string';
    return isWhole ? [{ id, name, apiKey }] : [];
  });
}
