import { createHttpClient, type HttpClient } from './http.ts';

export interface LagoHttpOptions {
  /** With or without `/api/v1`. */
  baseUrl: string;
  apiKey: () => string;
  /** For one attempt. */
  timeoutMs: number;
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

const advice = 'check LAGO_API_BASE and the secret lago-api-key';

/** Lago's root, whatever of its API path was pasted behind it. */
export const toLagoRoot = (baseUrl: string) => baseUrl.replace(/\/+$/, '').replace(/\/api\/v1$/, '');

/** Calls below `/api/v1`, with the key of the moment. */
export function createLagoHttp({ baseUrl, apiKey, timeoutMs, sleep }: LagoHttpOptions): HttpClient {
  return createHttpClient({
    service: 'Lago',
    baseUrl: `${toLagoRoot(baseUrl)}/api/v1`,
    headers: () => ({ Authorization: `Bearer ${apiKey()}` }),
    timeoutMs,
    advice: { 401: advice, 403: advice, 404: advice },
    ...(sleep === undefined ? {} : { sleep }),
  });
}
