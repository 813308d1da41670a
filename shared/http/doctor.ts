import { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { HttpError, UpstreamError } from '../errors.ts';
import type { FunctionContext, FunctionEvent, FunctionResponse } from './function.ts';
import { json } from './respond.ts';

export interface UpstreamCheck {
  name: string;
  /** The settings to change when it fails: `LITELLM_API_BASE_URL, LITELLM_API_KEY`. */
  settings: string;
  /** Resolves with the upstream's version, where it tells; throws what its client throws. */
  check(signal: AbortSignal): Promise<string | undefined>;
}

/** What `npm run doctor` asks a deployed function about itself. */
export interface Diagnosis {
  upstreams: UpstreamCheck[];
  /** For a function with state: whether it outlives the container. Absent for one without. */
  isDurable?: boolean;
  /** Where the answers stand: `/_doctor`, unless a function leaves that path to its backend. */
  path?: string;
}

export interface Tick {
  at: string;
  status: number;
}

/** What an operator may read: no address, no body of the upstream. */
function toFailure(error: unknown): string {
  if (!(error instanceof UpstreamError)) return 'the check itself failed: the log has the details';
  const what = error.failure === 'status' ? `answered ${error.status}` : error.failure;
  return error.advice === undefined ? what : `${what}: ${error.advice}`;
}

function readNumber({ query }: FunctionEvent, name: string, fallback: number, max: number): number {
  const text = query.get(name);
  const value = text === null ? fallback : Number(text);
  if (Number.isFinite(value) && value >= 0 && value <= max && text !== '') return value;
  throw new HttpError(400, `${name} must be a number from 0 to ${max}`, { code: 'invalid_parameter' });
}

async function* events(count: number, everyMs: number, signal: AbortSignal) {
  for (let number = 1; number <= count; number += 1) {
    yield `data: {"event":${number}}\n\n`;
    if (number < count) await wait(everyMs, undefined, { signal });
  }
}

/**
 * The routes below `/_doctor`, for callers with a key: what this process knows of itself (`GET /_doctor`), a stream of
 * `events` events `every_ms` apart (`/stream`), and an answer after `seconds` (`/wait`, 1200 at most), by which a caller
 * measures the way between. Resolves with undefined for every other path. Throws HttpError 400.
 */
export function createDoctor(
  { upstreams, isDurable, path = '/_doctor' }: Diagnosis,
  now: () => Date = () => new Date(),
) {
  const startedAt = now().toISOString();

  async function examine({ name, settings, check }: UpstreamCheck, { signal, log }: FunctionContext) {
    const askedAt = performance.now();
    try {
      const version = (await check(AbortSignal.any([signal, AbortSignal.timeout(10_000)]))) ?? null;
      return { name, settings, ok: true, version, duration_ms: Math.round(performance.now() - askedAt) };
    } catch (error) {
      log.warn('an upstream failed its check', { upstream: name, error });
      return { name, settings, ok: false, failure: toFailure(error) };
    }
  }

  async function answer(
    event: FunctionEvent,
    context: FunctionContext,
    lastTick: Tick | undefined,
  ): Promise<FunctionResponse | undefined> {
    switch (event.path.slice(path.length)) {
      case '':
        return json(200, {
          node: process.version,
          started_at: startedAt,
          durable: isDurable ?? null,
          last_tick: lastTick ?? null,
          upstreams: await Promise.all(upstreams.map((upstream) => examine(upstream, context))),
        });
      case '/stream': {
        const count = readNumber(event, 'events', 10, 100);
        const everyMs = readNumber(event, 'every_ms', 200, 5_000);
        const body = Readable.from(events(count, everyMs, context.signal), { objectMode: false });
        // A caller who leaves ends it; that is no error.
        body.on('error', () => undefined);
        return { status: 200, headers: { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' }, body };
      }
      case '/wait': {
        const seconds = readNumber(event, 'seconds', 0, 1_200);
        await wait(seconds * 1_000, undefined, { signal: context.signal });
        return json(200, { waited_seconds: seconds });
      }
      default:
        return undefined;
    }
  }

  /** undefined, and no promise, for a call that is not the doctor's: most are not. */
  return (
    event: FunctionEvent,
    context: FunctionContext,
    lastTick: Tick | undefined,
  ): Promise<FunctionResponse | undefined> | undefined =>
    event.method === 'GET' && event.path.startsWith(path) ? answer(event, context, lastTick) : undefined;
}
