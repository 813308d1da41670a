import { HttpError, UpstreamError } from '#shared/errors.ts';
import { listEndpoints } from './account.ts';
import { type AuthData, readAuthMembers } from './auth-data.ts';
import { rawMembers } from './raw-json.ts';
import type { VastTarget } from './target.ts';

export interface Answered {
  status: number;
  text: string;
}

export interface RouterOptions {
  target: VastTarget;
  /** Posts JSON to the autoscaler's `/route/`; rejects when there is no answer. */
  post: (json: string, key: string, signal: AbortSignal) => Promise<Answered>;
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  random: () => number;
  clock: () => number;
}

export interface RouteRequest {
  cost: number;
  /** Of a call that was given out before: its load is not added again. */
  requestIdx: string | undefined;
  waitMs: number;
  signal: AbortSignal;
}

/** A worker for one call. */
export interface Ticket {
  auth: AuthData;
  url: string;
}

const attempts = 3;
const longestPollMs = 5_000;

const cannot = (detail: string, status?: number, advice?: string) =>
  new UpstreamError('Vast.ai', 'status', detail, { status, advice });

const isAddress = (url: string) => /^https?:$/.test(URL.parse(url)?.protocol ?? '');

/** No worker in time: the caller is told when to come back. */
function startingError(status: string, waitMs: number): UpstreamError {
  const error = cannot(`no worker within ${waitMs} ms: ${status}`, 503);
  error.cause = new HttpError(503, 'The workers of this endpoint are starting: come back later', {
    code: 'workers_starting',
    headers: { 'Retry-After': '15' },
  });
  return error;
}

/** Asks the autoscaler who takes a call, as Vast's own client does it. */
export function createRouter({ target, post, sleep, random, clock }: RouterOptions) {
  let found: { accountKey: string; apiKey: string } | undefined;

  async function keyFor(signal: AbortSignal): Promise<string> {
    const own = target.apiKey?.read();
    if (own !== undefined) return own;
    const accountKey = target.accountKey?.read();
    if (accountKey === undefined) throw cannot('no key', undefined, 'create the secret vast-api-key');
    if (found?.accountKey === accountKey) return found.apiKey;
    const endpoints = await listEndpoints(target.consoleUrl, accountKey, { signal });
    const endpoint = endpoints.find(({ name }) => name === target.endpoint);
    if (endpoint === undefined) throw cannot('no endpoint of that name', undefined, 'check VAST_ENDPOINT');
    found = { accountKey, apiKey: endpoint.apiKey };
    return endpoint.apiKey;
  }

  async function ask(json: string, signal: AbortSignal): Promise<string> {
    for (let attempt = 1; ; attempt++) {
      let failure: UpstreamError;
      try {
        const key = await keyFor(signal);
        const { status, text } = await post(json, key, signal);
        if (status < 300) return text;
        const isKey = status === 401 || status === 403;
        // The account may have given the endpoint a new one.
        if (isKey && found !== undefined && attempt === 1) {
          found = undefined;
          continue;
        }
        // An answer that repeats what it was sent has the key in it.
        failure = cannot(
          text.replaceAll(key, '[redacted]').slice(0, 200),
          status,
          isKey ? 'check vast-api-key' : undefined,
        );
        if (status < 500) throw failure;
      } catch (error) {
        if (signal.aborted || (error instanceof UpstreamError && error.status !== undefined)) throw error;
        const isLate = error instanceof DOMException && error.name === 'TimeoutError';
        const what = isLate ? 'timeout' : 'network';
        failure = error instanceof UpstreamError ? error : new UpstreamError('Vast.ai', what, String(error));
      }
      if (attempt >= attempts) throw failure;
      await sleep(500 * 2 ** (attempt - 1), signal);
    }
  }

  return {
    /** Resolves with a worker, once there is one. Throws UpstreamError, with an HttpError 503 as its cause after `waitMs`. */
    async route({ cost, requestIdx, waitMs, signal }: RouteRequest): Promise<Ticket> {
      const index = requestIdx === undefined ? '' : `, "request_idx": ${requestIdx}`;
      const json = `{"endpoint": ${JSON.stringify(target.endpoint)}, "cost": ${cost}${index}}`;
      const startedAt = clock();
      for (let poll = 0; ; poll++) {
        const text = await ask(json, signal);
        const members = readMembers(text);
        if (members.has('url')) {
          const { auth, problems } = readAuthMembers(members);
          if (Object.keys(problems).length > 0) {
            throw new UpstreamError('Vast.ai', 'invalid_response', `the ticket lacks ${Object.keys(problems).join()}`);
          }
          const url = JSON.parse(auth.url) as string;
          if (!isAddress(url)) throw new UpstreamError('Vast.ai', 'invalid_response', 'the worker has no address');
          return { auth, url };
        }
        const most = Math.min(1_000 * 2 ** poll + random() * 1_000, longestPollMs);
        const pauseMs = poll === 0 ? 1_000 : 100 + random() * (most - 100);
        const leftMs = waitMs - (clock() - startedAt);
        if (leftMs <= 0) throw startingError(members.get('status') ?? 'no status', waitMs);
        await sleep(Math.min(pauseMs, leftMs), signal);
      }
    },
  };
}

function readMembers(text: string): Map<string, string> {
  try {
    return rawMembers(text) ?? new Map();
  } catch {
    throw new UpstreamError('Vast.ai', 'invalid_response', `not JSON: ${text.slice(0, 200)}`);
  }
}

export type Router = ReturnType<typeof createRouter>;
