import { createHttpClient } from '#shared/clients/http.ts';
import { UpstreamError } from '#shared/errors.ts';
import { listEndpoints } from './account.ts';
import { parsePublicKey } from './signature.ts';
import type { VastTarget } from './target.ts';

/**
 * Whether the autoscaler answers, and, with an account's key, whether it has the endpoint and its key is the one that we
 * have. A call of `/route/` would say more, but it is load, and starts machines that cost money. Throws UpstreamError.
 */
export async function checkVast(target: VastTarget, autoscalerUrl: string, signal: AbortSignal): Promise<void> {
  const { endpoint, apiKey, accountKey, consoleUrl } = target;
  const service = 'The autoscaler';
  const client = createHttpClient({ service, baseUrl: autoscalerUrl, timeoutMs: 5_000, attempts: 1 });
  try {
    parsePublicKey((await client.request({ path: '/pubkey/', signal })).text);
  } catch (error) {
    const [failure, status] = error instanceof UpstreamError ? [error.failure, error.status] : ['invalid_response'];
    throw new UpstreamError(service, failure as 'network', 'no public key', { status, advice: 'check VAST_URL' });
  }
  const account = accountKey?.read();
  if (account === undefined) return;
  const found = (await listEndpoints(consoleUrl, account, { signal })).find(({ name }) => name === endpoint);
  if (found === undefined) {
    const advice = 'the account has no endpoint of that name: check VAST_ENDPOINT, or endpoint in BACKENDS';
    throw new UpstreamError('Vast.ai', 'invalid_response', 'no such endpoint', { advice });
  }
  const own = apiKey?.read();
  if (own !== undefined && own !== found.apiKey) {
    const advice = `it is not the key of the endpoint: check ${apiKey!.name}`;
    throw new UpstreamError('Vast.ai', 'invalid_response', 'another key', { advice });
  }
}
