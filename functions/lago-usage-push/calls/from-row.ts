import type { SpendRow } from '#shared/clients/litellm.ts';
import { type Call, toCallId, toFields, toRequestId } from './call.ts';
import { readLitellmTokens } from './tokens.ts';

/** A row of LiteLLM's spend logs. */
export function fromRow(row: SpendRow): Call {
  const startedAt = row.startTime.getTime();
  const requestId = toRequestId(row.requestId, { startedAt, keyHash: row.apiKeyHash, model: row.model });
  return {
    id: toCallId('litellm', requestId),
    requestId,
    source: 'rows',
    startedAt,
    model: row.model,
    provider: row.provider,
    spend: row.spend,
    prompt: row.promptTokens,
    completion: row.completionTokens,
    total: row.totalTokens,
    tokens: readLitellmTokens(row.metadata.usage_object, {
      prompt: row.promptTokens,
      completion: row.completionTokens,
    }),
    endUser: row.endUser,
    user: row.user,
    team: row.teamId,
    organization: row.organizationId,
    keyAlias: row.keyAlias,
    keyHash: row.apiKeyHash,
    tags: row.tags,
    fields: toFields(row.metadata),
    isFailure: row.status === 'failure',
    isCacheHit: row.isCacheHit,
    isBilledElsewhere: false,
    isEstimated: false,
  };
}
