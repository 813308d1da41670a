import type { UsageRecord } from '#shared/usage.ts';
import type { Outcome } from '../road/observer.ts';

/** A failed attempt before the one that answered, or the one that broke off. It is never billed. */
export interface FailedAttempt {
  backend: string;
  failure: string;
  status: number | null;
}

/** One call, as history keeps it: what `UsageRecord` tells, and what an operator asks. Times in ms, sizes in bytes. */
export interface CallRecord extends Omit<UsageRecord, 'outcome'> {
  outcome: Outcome;
  method: string;
  path: string;
  stream: boolean;
  /** Attempts at backends, the answering one included; 0 for a call that was refused before any. */
  attempts: number;
  failed_attempts: FailedAttempt[];
  /** From the call to the first byte of the answer's body. */
  first_byte_ms: number | null;
  duration_ms: number;
  chunks: number;
  answer_bytes: number;
  finish_reason: string | null;
  /** Only with HISTORY_CONTENT=full. */
  prompt?: string;
  completion?: string;
}

/** What is billed of a call, or undefined for one that reached no backend. */
export function toUsageRecord(record: CallRecord): UsageRecord | undefined {
  const { outcome } = record;
  if (outcome === 'refused') return undefined;
  return {
    id: record.id,
    upstream_id: record.upstream_id,
    litellm_call_id: record.litellm_call_id,
    billed_by: record.billed_by,
    started_at: record.started_at,
    ended_at: record.ended_at,
    caller: record.caller,
    end_user: record.end_user,
    model: record.model,
    requested_model: record.requested_model,
    backend: record.backend,
    provider: record.provider,
    status: record.status,
    outcome,
    tokens: record.tokens,
    usage_source: record.usage_source,
    cost_usd: record.cost_usd,
  };
}
