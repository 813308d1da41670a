import { createHash } from 'node:crypto';
import type { LagoEvent } from '#shared/clients/lago.ts';
import { formatUsd, type PicoUsd } from '#shared/money.ts';

/** What billing reads of one of LiteLLM's spend rows. */
export interface UsageRow {
  requestId: string;
  startTime: Date;
  spend: PicoUsd;
  model: string;
  promptTokens: number;
  completionTokens: number;
  totalTokens: number;
  endUser: string | null;
  user: string | null;
  teamId: string | null;
  status: 'success' | 'failure';
  isCacheHit: boolean;
}

export const chargeByNames = ['end_user_id', 'user_id', 'team_id'] as const;
export type ChargeBy = (typeof chargeByNames)[number];

const payer: Record<ChargeBy, (row: UsageRow) => string | null> = {
  end_user_id: (row) => row.endUser,
  user_id: (row) => row.user,
  team_id: (row) => row.teamId,
};

const digest = (...parts: string[]) => createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);

/** The external id of the subscription that pays for a row; undefined when the row names none ("" is LiteLLM's none). */
export function findSubscription(row: UsageRow, chargeBy: ChargeBy): string | undefined {
  // Lago strips its external ids, so an id with a space around it would match nothing.
  return payer[chargeBy](row)?.trim() || undefined;
}

/** A call that cost nothing because it failed, or because the provider was never asked, is not billed. */
export function findSkipReason(row: UsageRow): 'failures' | 'cache_hits' | undefined {
  if (row.isCacheHit) return 'cache_hits';
  return row.status === 'failure' && row.spend === 0n ? 'failures' : undefined;
}

/**
 * The same row gives the same id, two rows give two ids, whatever they contain: Lago refuses the second of an id, and
 * its id has to be unique across subscriptions. The request id follows for people who search; 195 characters at most.
 */
export function toTransactionId(subscription: string, requestId: string): string {
  const shown = requestId.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 150);
  return `litellm-${digest(subscription, requestId)}-${shown}`;
}

/** Under what a row without a payer is remembered, so that it is reported once. */
export const toUnmappedKey = (requestId: string) => `unmapped-${digest(requestId)}`;

/** One event in the shape of LiteLLM's own Lago callback, with its id and its time made stable. */
export function toLagoEvent(row: UsageRow, subscription: string, code: string): LagoEvent {
  return {
    transaction_id: toTransactionId(subscription, row.requestId),
    external_subscription_id: subscription,
    code,
    timestamp: (row.startTime.getTime() / 1000).toFixed(3),
    properties: {
      // PostgreSQL's jsonb cannot hold this character: Lago would answer 500 for ever.
      model: row.model.replaceAll('\u0000', ''),
      response_cost: formatUsd(row.spend),
      prompt_tokens: String(row.promptTokens),
      completion_tokens: String(row.completionTokens),
      total_tokens: String(row.totalTokens),
    },
  };
}
