import type { UsageRecord } from '#shared/usage.ts';
import type { Outcome } from '../road/observer.ts';

/** Tells this process from others: replicas, and those before it whose records are still there. */
const ofProcess = Math.random().toString(36).slice(2, 10);
let count = 0;

export function nextSerial(): string {
  count += 1;
  return `${ofProcess}-${count.toString(36)}`;
}

/** A failed attempt before the one that answered, or the one that broke off. It is never billed. */
export interface FailedAttempt {
  backend: string;
  failure: string;
  status: number | null;
}

/** One call, as history keeps it: what `UsageRecord` tells, and what an operator asks. Times in ms, sizes in bytes. */
export interface CallRecord extends Omit<UsageRecord, 'outcome'> {
  outcome: Outcome;
  /** No other call has it: `id` is the request id, and callers choose theirs. */
  serial: string;
  /** Of the trace that the call is part of (W3C). */
  trace_id: string | null;
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

/** A call that has not ended, as far as it has come. */
export interface CallUnderWay {
  id: string;
  started_at: string;
  caller: string;
  model: string;
  path: string;
  stream: boolean;
  /** The one that is asked, or was asked last; null while the call waits for its first place. */
  backend: string | null;
  attempts: number;
  failed_attempts: number;
  first_byte_ms: number | null;
  chunks: number;
  answer_bytes: number;
}

/** Asked for how it stands; nothing is noted for it in the meantime. */
export interface Running {
  readonly caller: string;
  describe(): CallUnderWay;
}

/**
 * What is billed of a call, or undefined for one that reached no backend. Receivers bill an id once: by the request id
 * alone, a caller who sends the same one with every call would pay for the first.
 */
export function toUsageRecord(record: CallRecord): UsageRecord | undefined {
  const { outcome } = record;
  if (outcome === 'refused') return undefined;
  return {
    id: `${record.id}.${record.serial}`,
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
