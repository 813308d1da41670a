import { HttpError, UpstreamError } from '#shared/errors.ts';
import { readJson, readText } from '#shared/http/body.ts';
import type { FunctionHandler } from '#shared/http/define.ts';
import type { Logger } from '#shared/http/function.ts';
import { json } from '#shared/http/respond.ts';
import { usageBatch } from '#shared/usage.ts';
import type { Call } from './calls/call.ts';
import { fromRecord } from './calls/from-record.ts';
import { fromWebhook } from './calls/from-webhook.ts';
import { parseWebhookBody } from './calls/webhook-body.ts';
import type { Inbox } from './delivery/inbox.ts';
import type { PushMetrics } from './metrics.ts';
import type { PushNow } from './schedule/run.ts';

export interface IngestOptions {
  /** Where calls are safe before Lago has them; undefined when the store does not last. */
  inbox: Inbox | undefined;
  pushNow: PushNow;
  /** Starts a run soon, for what is in the inbox. */
  wake: (log: Logger) => void;
  hasBillFrom: boolean;
  maxBytes: number;
  metrics: PushMetrics;
}

type Accepted = { accepted: number; duplicates: number };

/** Each call once; how many were repeated. */
function dedupe(calls: Call[]): { unique: Call[]; repeated: number } {
  const unique = [...new Map(calls.map((call) => [call.id, call])).values()];
  return { unique, repeated: calls.length - unique.length };
}

/** The routes by which usage is pushed to us. Each answers 200 only once its calls are safe, in the store or in Lago. */
export function createIngest(options: IngestOptions): { webhook: FunctionHandler; usage: FunctionHandler } {
  const { inbox, pushNow, maxBytes, metrics } = options;

  async function makeSafe(
    calls: Call[],
    call: { log: Logger; signal: AbortSignal; remember: boolean },
  ): Promise<Accepted> {
    const { log, signal, remember } = call;
    const { unique, repeated } = dedupe(calls);
    if (unique.length === 0) return { accepted: 0, duplicates: repeated };
    if (inbox !== undefined) {
      const known = remember ? await inbox.findKnown(unique) : new Set<string>();
      const fresh = unique.filter(({ id }) => !known.has(id));
      await inbox.accept(fresh, { remember });
      if (fresh.length > 0) options.wake(log);
      return { accepted: fresh.length, duplicates: repeated + known.size };
    }
    if (!options.hasBillFrom) {
      throw new HttpError(503, 'Nothing is billed before BILL_FROM is set, and no lasting store keeps it until then', {
        code: 'bill_from_missing',
      });
    }
    try {
      const { skipped } = await pushNow(unique, { log, signal });
      const duplicates = skipped.done_before;
      return { accepted: unique.length - duplicates, duplicates: repeated + duplicates };
    } catch (error) {
      const isLagos = error instanceof UpstreamError || (error instanceof HttpError && error.status === 409);
      if (!isLagos || signal.aborted) throw error;
      log.error('pushed usage is not safe', { error });
      throw new HttpError(503, 'Lago has not all of this usage, and no lasting store keeps it: send it again', {
        code: 'not_safe',
        headers: { 'Retry-After': '30' },
      });
    }
  }

  return {
    /** `POST /webhook`: LiteLLM's `generic_api` batches. */
    async webhook(event, { log, signal }) {
      const payloads = parseWebhookBody(await readText(event, maxBytes));
      // All are read before the first is kept, so that nothing of a bad body is applied.
      const calls = payloads.map(fromWebhook);
      const answer = await makeSafe(calls, { log, signal, remember: false });
      metrics.countAccepted('webhook', calls.length);
      return json(200, answer);
    },

    /** `POST /usage`: usage records of completion-proxy and n8n. */
    async usage(event, { log, signal }) {
      const parsed = usageBatch.safeParse(await readJson(event, maxBytes));
      if (!parsed.success) {
        const [issue] = parsed.error.issues;
        throw new HttpError(400, `The usage is not as agreed: ${issue?.path.join('.')} ${issue?.message}`, {
          code: 'bad_usage',
        });
      }
      const calls = parsed.data.records.map(fromRecord);
      const answer = await makeSafe(calls, { log, signal, remember: true });
      metrics.countAccepted('usage', calls.length);
      return json(200, answer);
    },
  };
}
