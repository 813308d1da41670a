import { UpstreamError } from '../errors.ts';

export const service = 'LiteLLM';

const keyAdvice = 'check LITELLM_API_KEY: it must be the master key or a proxy_admin_viewer key';
export const addressAdvice = 'check that LITELLM_API_BASE_URL is the root of the LiteLLM proxy and that the proxy runs';

/** What to check when a status comes back, where its body says no more. */
export const statusAdvice: Record<number, string> = {
  400: 'it refused the parameters; if LiteLLM was updated lately, this function may have to be, too',
  401: keyAdvice,
  403: keyAdvice,
  404: addressAdvice,
  429: 'it limits how often this key may call: try again later',
  500: "look into LiteLLM's log: the spend routes need its database, and days as YYYY-MM-DD",
  502: addressAdvice,
  503: addressAdvice,
  504: 'the proxy in front of LiteLLM gave up waiting',
};

const adviceByText: [RegExp, string][] = [
  // Without its database LiteLLM answers 401, and the key is not to blame.
  [/Prisma Client is not initialized|No db connected/i, 'connect LiteLLM to its database'],
  [/ExceededBudget|budget_exceeded/i, 'the budget of LITELLM_API_KEY is used up: raise it, or use a key without one'],
  [/LiteLLM Enterprise user/i, 'this route is for paying users of LiteLLM'],
];

/** Says what to fix, where the status alone could not. */
export function toAdvised(error: unknown, timeoutMs: number): unknown {
  if (!(error instanceof UpstreamError)) return error;
  const { failure, detail, status, retryAfterMs } = error;
  const advise = (advice: string) => new UpstreamError(service, failure, detail, { status, retryAfterMs, advice });
  const known = adviceByText.find(([pattern]) => pattern.test(detail));
  if (known !== undefined) return advise(known[1]);
  if (error.advice !== undefined) return error;
  if (failure === 'timeout') return advise(`it had ${timeoutMs} ms: raise LITELLM_TIMEOUT_MS, or see why it is slow`);
  return failure === 'network' || failure === 'invalid_response' ? advise(addressAdvice) : error;
}

export function toInvalid(detail: string, advice = addressAdvice) {
  return new UpstreamError(service, 'invalid_response', detail, { advice });
}

/**
 * This version of LiteLLM has no such route. A 404 that is not JSON is from something in front of it, as an ingress gives
 * while the proxy restarts, or from another program: it says nothing about the version.
 */
export function isMissingRoute(error: unknown): boolean {
  return error instanceof UpstreamError && error.status === 404 && /^\s*\{/.test(error.detail);
}

export function toMissingRoute(advice: string) {
  return new UpstreamError(service, 'status', '{"detail":"Not Found"}', { status: 404, advice });
}

/** Trouble that half of the window may not have: it took too long, was cut after its head, or broke LiteLLM's query. */
export function isWorthHalving(error: unknown): boolean {
  if (!(error instanceof UpstreamError)) return false;
  const { failure, status } = error;
  return failure === 'timeout' || (failure === 'network' && status !== undefined) || status === 500 || status === 504;
}
