import type { CallRecord } from '../../functions/completion-proxy/records/record.ts';

/** A record of a call that went well. */
export function makeRecord(id: string, more: Partial<CallRecord> = {}): CallRecord {
  return {
    id,
    upstream_id: null,
    litellm_call_id: null,
    billed_by: null,
    started_at: '2026-11-01T00:00:00.000Z',
    ended_at: '2026-11-01T00:00:01.000Z',
    caller: 'tests',
    end_user: null,
    model: 'm',
    requested_model: 'm',
    backend: 'b',
    provider: 'openai',
    status: 200,
    outcome: 'ok',
    tokens: { input: 1, output: 2 },
    usage_source: 'upstream',
    cost_usd: '0.5',
    serial: '1',
    trace_id: null,
    method: 'POST',
    path: '/v1/chat/completions',
    stream: false,
    attempts: 1,
    failed_attempts: [],
    first_byte_ms: 1,
    duration_ms: 2,
    chunks: 1,
    answer_bytes: 10,
    finish_reason: 'stop',
    ...more,
  };
}
