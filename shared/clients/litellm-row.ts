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
  teamAlias: string | null;
  userEmail: string | null;
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

/** What is wrong with an answer's value: "spend is not an amount". */
export class RowError extends Error {}

type Columns = Record<string, unknown>;

const toName = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);

function toCount(row: Columns, name: string): number {
  const value = row[name] ?? 0;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new RowError(`${name} is not a number`);
}

/** A number or a numeric text; nothing is 0. */
export function toAmount(value: unknown, name = 'spend'): PicoUsd {
  if (value === null || value === undefined) return 0n;
  try {
    return parseUsd(value as number | string);
  } catch {
    throw new RowError(`${name} is not an amount`);
  }
}

const hasOffset = /(Z|[+-]\d{2}:?\d{2})$/i;

/** With or without a fraction and an offset; without an offset it is UTC. */
function toMoment(row: Columns, name: string): Date {
  const value = row[name];
  if (typeof value === 'string') {
    if (value.length > 19 && value[10] === 'T' && value.endsWith('Z')) {
      const ms = Date.parse(value);
      if (!Number.isNaN(ms)) return new Date(ms);
    }
    const iso = value.trim().replace(' ', 'T');
    const date = new Date(hasOffset.test(iso) ? iso : `${iso}Z`);
    if (!Number.isNaN(date.getTime())) return date;
  }
  throw new RowError(`${name} is not a time`);
}

/** JSON columns came as text for some versions. */
function toJson(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value) as unknown;
  } catch {
    return undefined;
  }
}

const isColumns = (value: unknown): value is Columns =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A raw row, as opposed to a day of the summary, which the same route may give. */
export const isRawRow = (value: unknown): boolean => isColumns(value) && 'request_id' in value;

/**
 * One row of any version; columns past the oldest are optional. Written by hand, as a million of them have to be read.
 * `utcOffsetMinutes` is what an old proxy's clock was ahead. Throws RowError.
 */
export function parseSpendRow(value: unknown, utcOffsetMinutes = 0): SpendRow {
  if (!isColumns(value)) throw new RowError('the row is no object');
  const requestId = toName(value.request_id);
  if (requestId === null) throw new RowError('request_id is missing');
  const parsed = toJson(value.metadata);
  const metadata = isColumns(parsed) ? parsed : {};
  const tags = toJson(value.request_tags);
  const [startTime, endTime] = [toMoment(value, 'startTime'), toMoment(value, 'endTime')];
  if (utcOffsetMinutes !== 0) {
    for (const time of [startTime, endTime]) time.setTime(time.getTime() - utcOffsetMinutes * 60_000);
  }
  return {
    requestId,
    litellmCallId: toName(value.litellm_call_id) ?? toName(metadata.litellm_call_id),
    callType: toName(value.call_type) ?? '',
    apiKeyHash: toName(value.api_key),
    keyAlias: toName(metadata.user_api_key_alias),
    teamAlias: toName(metadata.user_api_key_team_alias),
    userEmail: toName(metadata.user_api_key_user_email),
    spend: toAmount(value.spend),
    totalTokens: toCount(value, 'total_tokens'),
    promptTokens: toCount(value, 'prompt_tokens'),
    completionTokens: toCount(value, 'completion_tokens'),
    startTime,
    endTime,
    model: toName(value.model) ?? '',
    modelGroup: toName(value.model_group),
    provider: toName(value.custom_llm_provider),
    user: toName(value.user),
    teamId: toName(value.team_id),
    organizationId: toName(value.organization_id),
    endUser: toName(value.end_user),
    status: value.status === 'failure' ? 'failure' : 'success',
    isCacheHit: value.cache_hit === true || /^true$/i.test(String(value.cache_hit)),
    tags: Array.isArray(tags) ? tags.filter((tag): tag is string => typeof tag === 'string') : [],
    metadata,
  };
}
