import type { Readable } from 'node:stream';
import type { AxiosError, AxiosRequestConfig, AxiosResponse } from 'axios';
import { UpstreamError } from '../errors.ts';
import { parseRetryAfterMs, retry } from '../retry.ts';
import { toDetail } from './detail.ts';

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

export interface HttpStream {
  status: number;
  /** Names in lower case. */
  headers: Record<string, string>;
  /** Fails with UpstreamError: `network` with the answer's status when it was cut, `timeout` when nothing came for a while. */
  body: AsyncIterable<Uint8Array>;
}

export interface HttpClient {
  /** Resolves with an accepted answer; throws UpstreamError for everything else. */
  request(request: HttpRequest): Promise<HttpAnswer>;
  /** The same, and the body parsed; UpstreamError `invalid_response` when it is not JSON (a proxy's HTML page, say). */
  requestJson(request: HttpRequest): Promise<{ status: number; headers: Record<string, string>; body: unknown }>;
}

export interface StreamingHttpClient extends HttpClient {
  /** The body as it comes, of any size. `timeoutMs` holds for the head, and then for each pause between two chunks. */
  stream(request: HttpRequest): Promise<HttpStream>;
}

const retriedStatuses = new Set([429, 502, 503, 504]);

function toHeaders(response: AxiosResponse): Record<string, string> {
  return Object.fromEntries(
    Object.entries(response.headers).map(([name, value]) => [name.toLowerCase(), String(value)]),
  );
}

/** AxiosError carries the request with its Authorization header: only its code and message leave this file. */
function toUpstreamError(service: string, error: unknown, deadline: AbortSignal, caller: AbortSignal | undefined) {
  const { code = '', message = 'unknown failure', response } = error as Partial<AxiosError>;
  if (deadline.aborted) return new UpstreamError(service, 'timeout', 'the deadline passed');
  if (caller?.aborted) return new UpstreamError(service, 'aborted', 'the caller is gone');
  // axios has one code for an answer that is too large and for one that was cut: only the message tells them apart.
  if (/maxContentLength/.test(message)) return new UpstreamError(service, 'invalid_response', message);
  // A status without an answer: it was cut after its head.
  return new UpstreamError(service, 'network', `${code} ${message}`.trim(), { status: response?.status });
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
export function createHttpClient(options: HttpClientOptions): StreamingHttpClient {
  const { service, baseUrl, timeoutMs, advice = {}, attempts = 3, maxResponseBytes = 64 * 1024 * 1024 } = options;
  // Loaded with the first call: axios costs more start-up time than everything else in a small function.
  let loading: ReturnType<typeof load> | undefined;
  async function load() {
    const [{ default: axios }, agents] = await Promise.all([import('axios'), openAgents(baseUrl, options.tls)]);
    return axios.create({
      adapter: 'http',
      ...agents,
      maxRedirects: 0,
      maxContentLength: maxResponseBytes,
      responseType: 'text',
      transformResponse: (body) => body,
      validateStatus: () => true,
    });
  }

  async function send(
    request: HttpRequest,
    signal: AbortSignal,
    more: Pick<AxiosRequestConfig, 'responseType' | 'maxContentLength'> = {},
  ): Promise<AxiosResponse> {
    loading ??= load();
    const axios = await loading;
    const { method = 'GET', path, query = {}, json, headers = {} } = request;
    return axios.request({
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
      signal,
      ...more,
    });
  }

  const join = (...signals: (AbortSignal | undefined)[]) =>
    AbortSignal.any(signals.filter((item) => item !== undefined));

  const detailOf = (request: HttpRequest, body: string) =>
    toDetail(body, { ...options.headers?.(), ...request.headers });

  function toRefusal(request: HttpRequest, status: number, headers: Record<string, string>, body: string) {
    return new UpstreamError(service, 'status', detailOf(request, body), {
      status,
      retryAfterMs: parseRetryAfterMs(headers['retry-after']),
      advice: advice[status],
    });
  }

  async function attempt(request: HttpRequest): Promise<HttpAnswer> {
    const { signal, accept = isSuccess } = request;
    const deadline = AbortSignal.timeout(request.timeoutMs ?? timeoutMs);
    let response: AxiosResponse<string>;
    try {
      response = await send(request, join(deadline, signal));
    } catch (error) {
      throw toUpstreamError(service, error, deadline, signal);
    }
    const answer = { status: response.status, headers: toHeaders(response), text: response.data ?? '' };
    if (accept(answer.status)) return answer;
    throw toRefusal(request, answer.status, answer.headers, answer.text);
  }

  async function open(request: HttpRequest): Promise<HttpStream> {
    const { signal, accept = isSuccess } = request;
    const patience = createPatience(request.timeoutMs ?? timeoutMs);
    let response: AxiosResponse<Readable>;
    try {
      response = await send(request, join(patience.signal, signal), { responseType: 'stream', maxContentLength: -1 });
    } catch (error) {
      patience.end();
      throw toUpstreamError(service, error, patience.signal, signal);
    }
    const [status, headers] = [response.status, toHeaders(response)];
    async function* read() {
      try {
        for await (const chunk of response.data) {
          patience.renew();
          yield chunk as Uint8Array;
        }
      } catch (error) {
        throw toUpstreamError(service, Object.assign(error as Error, { response }), patience.signal, signal);
      } finally {
        patience.end();
        response.data.destroy();
      }
    }
    if (accept(status)) return { status, headers, body: read() };
    const text: Uint8Array[] = [];
    for await (const chunk of read()) {
      text.push(chunk);
      if (text.length >= 4) break;
    }
    throw toRefusal(request, status, headers, Buffer.concat(text).toString('utf8'));
  }

  function retried<T>(wanted: HttpRequest, operation: () => Promise<T>): Promise<T> {
    const { method = 'GET', idempotent = method !== 'POST' && method !== 'PATCH' } = wanted;
    return retry(operation, {
      attempts: idempotent ? attempts : 1,
      signal: wanted.signal,
      shouldRetry: isRetryable,
      retryAfterMs: (error) => (error as UpstreamError).retryAfterMs,
      ...(options.sleep === undefined ? {} : { sleep: options.sleep }),
    });
  }

  const request = (wanted: HttpRequest) => retried(wanted, () => attempt(wanted));

  return {
    request,
    stream: (wanted) => retried(wanted, () => open(wanted)),
    async requestJson(wanted) {
      const { status, headers, text } = await request(wanted);
      try {
        return { status, headers, body: JSON.parse(text) as unknown };
      } catch {
        throw new UpstreamError(service, 'invalid_response', `not JSON: ${detailOf(wanted, text)}`, { status });
      }
    },
  };
}

/** The agent of the base URL's protocol, for TLS is not loaded without need: no redirect leads to another one. */
async function openAgents(baseUrl: string, { ca, insecure = false }: HttpClientOptions['tls'] = {}) {
  if (!/^https:/i.test(baseUrl)) return { httpAgent: new (await import('node:http')).Agent({ keepAlive: true }) };
  const { Agent } = await import('node:https');
  return {
    httpsAgent: new Agent({ keepAlive: true, ...(ca === undefined ? {} : { ca }), rejectUnauthorized: !insecure }),
  };
}

const isSuccess = (status: number) => status >= 200 && status < 300;

/** Aborts its signal after `ms` without a renewal. */
function createPatience(ms: number) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), ms);
  return { signal: controller.signal, renew: () => timer.refresh(), end: () => clearTimeout(timer) };
}
