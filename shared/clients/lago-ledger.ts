import * as z from 'zod';
import { UpstreamError } from '../errors.ts';
import { createLagoHttp, createLagoResources, type LagoHttpOptions } from './lago-http.ts';

const event = z
  .object({
    transaction_id: z.string(),
    external_subscription_id: z.string().nullish(),
    code: z.string(),
    timestamp: z.string(),
    created_at: z.string().nullish(),
    precise_total_amount_cents: z.union([z.string(), z.number()]).nullish(),
    properties: z.record(z.string(), z.unknown()).nullish(),
  })
  .transform((item) => ({
    transactionId: item.transaction_id,
    subscription: item.external_subscription_id ?? null,
    code: item.code,
    at: new Date(item.timestamp),
    arrivedAt: item.created_at ? new Date(item.created_at) : null,
    preciseCents: item.precise_total_amount_cents == null ? null : String(item.precise_total_amount_cents),
    properties: item.properties ?? {},
  }));

/** An event as Lago keeps it. */
export type StoredEvent = z.infer<typeof event>;

export type Estimate =
  | 'billed_in_advance'
  | 'billed_in_arrears'
  | 'unknown_subscription'
  | 'unknown_metric'
  | 'bad_value';

export interface LagoLedgerClient {
  /** Events of [from, to), newest first. Needs Lago 1.13.1 or later; before, UpstreamError 404. */
  listEvents(window: { from: Date; to: Date; code?: string; signal?: AbortSignal }): AsyncIterable<StoredEvent>;
  /** Undefined when Lago has no such event. Known to every version. */
  findEvent(transactionId: string, signal?: AbortSignal): Promise<StoredEvent | undefined>;
  /** What Lago's strict validator makes of an event, of which it stores nothing. Any version. */
  estimate(
    probe: { code: string; subscription: string; properties: Record<string, string> },
    signal?: AbortSignal,
  ): Promise<Estimate>;
}

/** What Lago has, read back. */
export function createLagoLedgerClient(options: LagoHttpOptions): LagoLedgerClient {
  const http = createLagoHttp(options);
  const lago = createLagoResources(http);
  return {
    listEvents({ from, to, code, signal }) {
      // Both ends are inclusive upstream, and a millisecond is the finest that is stored by us.
      const query = {
        timestamp_from: from.toISOString(),
        timestamp_to: new Date(to.getTime() - 1).toISOString(),
        code,
      };
      return lago.list('/events', 'events', event, query, signal);
    },
    findEvent: (id, signal) => lago.find(`/events/${encodeURIComponent(id)}`, 'event', event, signal),
    async estimate({ code, subscription, properties }, signal) {
      const answer = await http.request({
        method: 'POST',
        path: '/events/estimate_fees',
        json: { event: { code, external_subscription_id: subscription, properties } },
        signal,
        idempotent: true,
        accept: (status) => status === 200 || status === 404 || status === 422,
      });
      if (answer.status === 200) return 'billed_in_advance';
      if (answer.text.includes('subscription_not_found')) return 'unknown_subscription';
      if (answer.text.includes('billable_metric_not_found')) return 'unknown_metric';
      if (answer.status === 404) {
        throw new UpstreamError('Lago', 'status', answer.text.slice(0, 300), {
          status: 404,
          advice: 'check LAGO_API_BASE',
        });
      }
      return answer.text.includes('does_not_match_an_instant_charge') ? 'billed_in_arrears' : 'bad_value';
    },
  };
}
