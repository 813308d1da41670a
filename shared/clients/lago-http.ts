import * as z from 'zod';
import { UpstreamError } from '../errors.ts';
import { createHttpClient, type HttpAnswer, type HttpClient } from './http.ts';

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

const refusal = z.object({ code: z.string().optional(), error_details: z.unknown().optional() });

function parseText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Lago says what it did not find: a 404 without that is somebody else's, or a wrong address. */
const isNotFound = ({ text }: HttpAnswer) => /_not_found$/.test(refusal.safeParse(parseText(text)).data?.code ?? '');

function parseBody<T>(answer: HttpAnswer, name: string, schema: z.ZodType<T>): T {
  const parsed = z.object({ [name]: schema }).safeParse(parseText(answer.text));
  if (parsed.success) return parsed.data[name] as T;
  const [issue] = parsed.error.issues;
  const detail = `no ${name} in the answer: ${issue?.path.join('.')} ${issue?.message}: ${answer.text.slice(0, 200)}`;
  throw new UpstreamError('Lago', 'invalid_response', detail, { status: answer.status, advice: 'check LAGO_API_BASE' });
}

/** The failure of a call that Lago refused, with Lago's own reason where a person can read it. */
function toRefused({ text, status }: HttpAnswer): UpstreamError {
  const { code, error_details: details } = refusal.safeParse(parseText(text)).data ?? {};
  const reason = JSON.stringify(details ?? code ?? text).slice(0, 300);
  return new UpstreamError('Lago', 'status', text.slice(0, 300), { status, advice: `it refuses this: ${reason}` });
}

const isSuccess = (status: number) => status >= 200 && status < 300;

export interface LagoResources {
  /** What stands under `name` in the answer; undefined when Lago does not know it. */
  find<T>(
    path: string,
    name: string,
    schema: z.ZodType<T>,
    signal?: AbortSignal,
    query?: Query,
  ): Promise<T | undefined>;
  /** Never tried again by itself. Throws UpstreamError whose advice is Lago's reason for a refusal. */
  write<T>(
    call: { method: 'POST' | 'PUT'; path: string; json: unknown; signal?: AbortSignal | undefined },
    name: string,
    schema: z.ZodType<T>,
  ): Promise<T>;
  /** Every item of every page. */
  list<T>(path: string, name: string, schema: z.ZodType<T>, query: Query, signal?: AbortSignal): AsyncGenerator<T>;
}

type Query = Record<string, string | number | boolean | undefined>;

/** Lago's resources by their wire names, over one HTTP client. */
export function createLagoResources(http: HttpClient): LagoResources {
  return {
    async find(path, name, schema, signal, query = {}) {
      const accept = (status: number) => isSuccess(status) || status === 404;
      const answer = await http.request({ path, query, signal, accept });
      if (answer.status !== 404) return parseBody(answer, name, schema);
      if (isNotFound(answer)) return undefined;
      throw new UpstreamError('Lago', 'status', answer.text.slice(0, 300), { status: 404, advice });
    },
    async write({ method, path, json, signal }, name, schema) {
      const accept = (status: number) => isSuccess(status) || [400, 404, 405, 422].includes(status);
      const answer = await http.request({ method, path, json, signal, accept, idempotent: false });
      if (!isSuccess(answer.status)) throw toRefused(answer);
      return parseBody(answer, name, schema);
    },
    async *list(path, name, schema, query, signal) {
      for (let page: number | null = 1; page !== null; ) {
        const answer: HttpAnswer = await http.request({ path, query: { per_page: 100, ...query, page }, signal });
        yield* parseBody(answer, name, z.array(schema));
        page = parseBody(answer, 'meta', z.object({ next_page: z.number().nullish() })).next_page ?? null;
      }
    },
  };
}

/** The version by Lago's `GET /health` (`1.12.2`); undefined when something before it answers there. */
export async function readLagoVersion(options: LagoHttpOptions, signal?: AbortSignal): Promise<string | undefined> {
  const { timeoutMs, sleep } = options;
  const baseUrl = toLagoRoot(options.baseUrl);
  const http = createHttpClient({ service: 'Lago', baseUrl, timeoutMs, ...(sleep === undefined ? {} : { sleep }) });
  const answer = await http.request({ path: '/health', signal, accept: () => true });
  const { version } = z.object({ version: z.string() }).safeParse(parseText(answer.text)).data ?? {};
  return /\d+\.\d+\.\d+/.exec(version ?? '')?.[0];
}

/** Asks for what every version lists and every key may read. Throws UpstreamError whose advice says what to check. */
export async function checkLagoAccess(options: LagoHttpOptions, signal?: AbortSignal): Promise<void> {
  const query = { per_page: 1 };
  const answer = await createLagoHttp(options).request({ path: '/billable_metrics', query, signal });
  parseBody(answer, 'billable_metrics', z.array(z.unknown()));
}
