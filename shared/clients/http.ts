import type { AxiosResponse } from 'axios';
import { UpstreamError } from '../errors.ts';
import { parseRetryAfterMs, retry } from '../retry.ts';

export interface HttpClientOptions {
  /** The name in errors and logs: "LiteLLM". */
  service: string;
  /** No trailing slash. */
  baseUrl: string;
  /** Read for each call, so that a rotated credential is used at once. */
  headers?: () => Record<string, string>;
  timeoutMs: number;
  /** Attempts of an idempotent call, the first included; 3 by default. */
  attempts?: number;
  /** What a person should check when this status comes back: `{401: 'check LITELLM_API_KEY'}`. */
  advice?: Record<number, string>;
  tls?: { ca?: string; insecure?: boolean };
  maxResponseBytes?: number;
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

export interface HttpRequest {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Already encoded. */
  path: string;
  query?: Record<string, string | number | boolean | undefined>;
  /** Sent as JSON. */
  json?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
  timeoutMs?: number;
  /** Retried after a timeout, a lost connection, 429, 502, 503 and 504. By default every method but POST and PATCH. */
  idempotent?: boolean;
  /** Statuses that are answers and not failures; 2xx by default. */
  accept?: (status: number) => boolean;
}

export interface HttpAnswer {
  status: number;
  /** Names in lower case. */
  headers: Record<string, string>;
  text: string;
}

export interface HttpClient {
  /** Resolves with an accepted answer; throws UpstreamError for everything else. */
  request(request: HttpRequest): Promise<HttpAnswer>;
  /** The same, and the body parsed; UpstreamError `invalid_response` when it is not JSON (a proxy's HTML page, say). */
  requestJson(request: HttpRequest): Promise<{ status: number; headers: Record<string, string>; body: unknown }>;
}

const retriedStatuses = new Set([429, 502, 503, 504]);
const shown = (text: string) => text.replace(/\s+/g, ' ').slice(0, 300);

function toHeaders(response: AxiosResponse): Record<string, string> {
  return Object.fromEntries(
    Object.entries(response.headers).map(([name, value]) => [name.toLowerCase(), String(value)]),
  );
}

/** AxiosError carries the request with its Authorization header: only its code and message leave this file. */
function toUpstreamError(service: string, error: unknown, deadline: AbortSignal, caller: AbortSignal | undefined) {
  const { code = '', message = 'unknown failure' } = error as { code?: string; message?: string };
  if (deadline.aborted) return new UpstreamError(service, 'timeout', 'the deadline passed');
  if (caller?.aborted) return new UpstreamError(service, 'aborted', 'the caller is gone');
  // axios has one code for an answer that is too large and for one that was cut: only the message tells them apart.
  if (/maxContentLength/.test(message)) return new UpstreamError(service, 'invalid_response', message);
  return new UpstreamError(service, 'network', `${code} ${message}`.trim());
}

function isRetryable(error: unknown): boolean {
  if (!(error instanceof UpstreamError)) return false;
  if (error.failure === 'timeout' || error.failure === 'network') return true;
  return error.failure === 'status' && retriedStatuses.has(error.status ?? 0);
}

/**
 * Calls to one upstream: a deadline for each attempt, the caller's signal, and retries of idempotent calls with jitter
 * and `Retry-After`. Redirects are refused, since they would carry the credential to an address nobody configured.
 */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const { service, baseUrl, timeoutMs, advice = {}, attempts = 3, maxResponseBytes = 64 * 1024 * 1024 } = options;
  // Loaded with the first call: axios costs more start-up time than everything else in a small function.
  let loading: ReturnType<typeof load> | undefined;
  async function load() {
    const [{ default: axios }, http, https] = await Promise.all([
      import('axios'),
      import('node:http'),
      import('node:https'),
    ]);
    return axios.create({
      adapter: 'http',
      httpAgent: new http.Agent({ keepAlive: true }),
      httpsAgent: new https.Agent({
        keepAlive: true,
        ...(options.tls?.ca === undefined ? {} : { ca: options.tls.ca }),
        rejectUnauthorized: options.tls?.insecure !== true,
      }),
      maxRedirects: 0,
      maxContentLength: maxResponseBytes,
      responseType: 'text',
      transformResponse: (body) => body,
      validateStatus: () => true,
    });
  }

  async function attempt(request: HttpRequest): Promise<HttpAnswer> {
    loading ??= load();
    const axios = await loading;
    const { method = 'GET', path, query = {}, json, headers = {}, signal, accept = isSuccess } = request;
    const deadline = AbortSignal.timeout(request.timeoutMs ?? timeoutMs);
    let response: AxiosResponse<string>;
    try {
      response = await axios.request({
        method,
        url: baseUrl + path,
        params: query,
        headers: {
          Accept: 'application/json',
          ...options.headers?.(),
          ...(json === undefined ? {} : { 'Content-Type': 'application/json' }),
          ...headers,
        },
        ...(json === undefined ? {} : { data: JSON.stringify(json) }),
        signal: signal === undefined ? deadline : AbortSignal.any([deadline, signal]),
      });
    } catch (error) {
      throw toUpstreamError(service, error, deadline, signal);
    }
    const answer = { status: response.status, headers: toHeaders(response), text: response.data ?? '' };
    if (accept(answer.status)) return answer;
    throw new UpstreamError(service, 'status', shown(answer.text), {
      status: answer.status,
      retryAfterMs: parseRetryAfterMs(answer.headers['retry-after']),
      advice: advice[answer.status],
    });
  }

  async function request(wanted: HttpRequest): Promise<HttpAnswer> {
    const { method = 'GET', idempotent = method !== 'POST' && method !== 'PATCH' } = wanted;
    return retry(() => attempt(wanted), {
      attempts: idempotent ? attempts : 1,
      signal: wanted.signal,
      shouldRetry: isRetryable,
      retryAfterMs: (error) => (error as UpstreamError).retryAfterMs,
      ...(options.sleep === undefined ? {} : { sleep: options.sleep }),
    });
  }

  return {
    request,
    async requestJson(wanted) {
      const { status, headers, text } = await request(wanted);
      try {
        return { status, headers, body: JSON.parse(text) as unknown };
      } catch {
        throw new UpstreamError(service, 'invalid_response', `not JSON: ${shown(text)}`, { status });
      }
    },
  };
}

const isSuccess = (status: number) => status >= 200 && status < 300;
