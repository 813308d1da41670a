import * as z from 'zod';
import { type PicoUsd, parseUsd } from '../money.ts';

/** One logged request. Empty strings of LiteLLM ("no team") are null here. */
export interface SpendRow {
  /** The primary key of LiteLLM's table. */
  requestId: string;
  /** The proxy's own id of the call; known since September 2026. */
  litellmCallId: string | null;
  callType: string;
  /** The sha256 of the key, or a name such as `litellm_proxy_master_key`. */
  apiKeyHash: string | null;
  keyAlias: string | null;
  spend: PicoUsd;
  totalTokens: number;
  promptTokens: number;
  completionTokens: number;
  startTime: Date;
  endTime: Date;
  model: string;
  modelGroup: string | null;
  provider: string | null;
  /** The internal user, who owns the key. */
  user: string | null;
  teamId: string | null;
  organizationId: string | null;
  /** The customer, as the request named it. */
  endUser: string | null;
  /** Old rows have none: they are successes. */
  status: 'success' | 'failure';
  isCacheHit: boolean;
  tags: string[];
  metadata: Record<string, unknown>;
}

const toName = z
  .string()
  .nullish()
  .transform((text) => text || null);

const count = z
  .number()
  .nullish()
  .transform((value) => value ?? 0);

export const usd = z.union([z.number(), z.string()]).transform((value, context) => {
  try {
    return parseUsd(value);
  } catch {
    context.addIssue('is not an amount');
    return z.NEVER;
  }
});

/** With or without a fraction and an offset; without an offset it is UTC. */
const moment = z.string().transform((text, context) => {
  const iso = text.trim().replace(' ', 'T');
  const date = new Date(/(Z|[+-]\d{2}:?\d{2})$/i.test(iso) ? iso : `${iso}Z`);
  if (!Number.isNaN(date.getTime())) return date;
  context.addIssue('is not a time');
  return z.NEVER;
});

/** JSON columns came as text for some versions. */
const jsonColumn = z.unknown().transform((value) => {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value) as unknown;
  } catch {
    return undefined;
  }
});

export const spendRow = z
  .object({
    request_id: z.string().min(1),
    litellm_call_id: toName,
    call_type: z.string().nullish(),
    api_key: toName,
    spend: usd.nullish(),
    total_tokens: count,
    prompt_tokens: count,
    completion_tokens: count,
    startTime: moment,
    endTime: moment,
    model: z.string().nullish(),
    model_group: toName,
    custom_llm_provider: toName,
    user: toName,
    team_id: toName,
    organization_id: toName,
    end_user: toName,
    status: z.string().nullish(),
    cache_hit: z.union([z.string(), z.boolean()]).nullish(),
    request_tags: jsonColumn.optional(),
    metadata: jsonColumn.optional(),
  })
  .transform((row): SpendRow => {
    const metadata = (typeof row.metadata === 'object' && !Array.isArray(row.metadata) && row.metadata) || {};
    const { user_api_key_alias: alias, litellm_call_id: callId } = metadata as Record<string, unknown>;
    return {
      requestId: row.request_id,
      litellmCallId: row.litellm_call_id ?? (typeof callId === 'string' && callId !== '' ? callId : null),
      callType: row.call_type ?? '',
      apiKeyHash: row.api_key,
      keyAlias: typeof alias === 'string' && alias !== '' ? alias : null,
      spend: row.spend ?? 0n,
      totalTokens: row.total_tokens,
      promptTokens: row.prompt_tokens,
      completionTokens: row.completion_tokens,
      startTime: row.startTime,
      endTime: row.endTime,
      model: row.model ?? '',
      modelGroup: row.model_group,
      provider: row.custom_llm_provider,
      user: row.user,
      teamId: row.team_id,
      organizationId: row.organization_id,
      endUser: row.end_user,
      status: row.status === 'failure' ? 'failure' : 'success',
      isCacheHit: String(row.cache_hit).toLowerCase() === 'true',
      tags: Array.isArray(row.request_tags)
        ? row.request_tags.filter((tag): tag is string => typeof tag === 'string')
        : [],
      metadata: metadata as Record<string, unknown>,
    };
  });
