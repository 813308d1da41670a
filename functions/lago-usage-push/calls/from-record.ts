import { parseUsd } from '#shared/money.ts';
import type { UsageRecord } from '#shared/usage.ts';
import { type Call, toCallId } from './call.ts';
import { separateProviderTokens } from './tokens.ts';

/** A usage record of completion-proxy or n8n. Its `caller` is the key that was checked; `end_user` is what the request said. */
export function fromRecord(record: UsageRecord): Call {
  const { tokens } = record;
  const prompt = tokens.input ?? 0;
  const completion = tokens.output ?? 0;
  return {
    id: toCallId('record', record.id),
    requestId: record.id,
    source: 'usage',
    startedAt: Date.parse(record.started_at),
    model: record.model,
    provider: record.provider,
    spend: record.cost_usd === null ? null : parseUsd(record.cost_usd),
    prompt,
    completion,
    total: prompt + completion,
    tokens: separateProviderTokens(
      Object.fromEntries(Object.entries(tokens).filter(([, count]) => count !== undefined)),
      record.provider,
    ),
    endUser: record.end_user,
    user: record.caller || null,
    team: null,
    organization: null,
    keyAlias: record.caller || null,
    keyHash: null,
    tags: [],
    fields: { caller: record.caller, backend: record.backend, requested_model: record.requested_model },
    isFailure: record.outcome === 'upstream_error' || record.outcome === 'timeout',
    isCacheHit: false,
    isBilledElsewhere: record.billed_by === 'litellm',
    isEstimated: record.usage_source === 'estimated',
  };
}
