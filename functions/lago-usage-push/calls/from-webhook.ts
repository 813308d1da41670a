import * as z from 'zod';
import { HttpError } from '#shared/errors.ts';
import { parseUsd } from '#shared/money.ts';
import { type Call, toCallId, toFields, toRequestId } from './call.ts';
import { readPythonLiteral, readPythonRecord } from './python-literal.ts';
import { readLitellmTokens } from './tokens.ts';

/** "" and, in the first generation, "None" are Python's nothing. */
const name = z
  .union([z.string(), z.number()])
  .nullish()
  .transform((value) =>
    value === null || value === undefined || value === '' || value === 'None' ? null : String(value),
  );

/**
 * Unix seconds, or a datetime's text (UTC without an offset), cut to ms in the text: LiteLLM's table cuts as well, and
 * rounding would give every second call another millisecond.
 */
const moment = z.union([z.number(), z.string()]).transform((value, context) => {
  const seconds = /^(\d+)(?:\.(\d+))?$/.exec(String(value).trim());
  if (seconds !== null) return Number(seconds[1]) * 1000 + Number((seconds[2] ?? '').padEnd(3, '0').slice(0, 3));
  const [, date, fraction = '', zone] =
    /^(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2})(?:\.(\d+))?(Z|[+-]\d{2}:?\d{2})?$/.exec(String(value).trim()) ?? [];
  // The engine would make a date of almost any text.
  const ms =
    date === undefined
      ? Number.NaN
      : Date.parse(`${date.replace(' ', 'T')}.${fraction.padEnd(3, '0').slice(0, 3)}${zone ?? 'Z'}`);
  if (!Number.isNaN(ms)) return ms;
  context.addIssue('is not a time');
  return z.NEVER;
});

const amount = z
  .union([z.number(), z.string()])
  .nullish()
  .transform((value, context) => {
    if (value === null || value === undefined || value === '' || value === 'None') return null;
    try {
      return parseUsd(value);
    } catch {
      context.addIssue('is not an amount');
      return z.NEVER;
    }
  });

const count = z
  .number()
  .nullish()
  .transform((value) => value ?? 0);

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const textsOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];

/** An object, its JSON, or its Python text; anything else is nothing. */
const object = z.unknown().transform((value): Record<string, unknown> => {
  if (isObject(value)) return value;
  if (typeof value !== 'string') return {};
  const read = readPythonLiteral(value);
  return isObject(read) ? read : {};
});

/** `StandardLoggingPayload`, which LiteLLM sends since 1.69; its messages and its response are not read. */
const standard = z.object({
  id: name,
  response_cost: amount,
  status: z.string().nullish(),
  custom_llm_provider: name,
  total_tokens: count,
  prompt_tokens: count,
  completion_tokens: count,
  startTime: moment,
  model: name,
  metadata: object.optional().transform((value) => value ?? {}),
  hidden_params: object.optional().transform((value) => value ?? {}),
  cache_hit: z.union([z.boolean(), z.string()]).nullish(),
  request_tags: z.array(z.unknown()).nullish().transform(textsOf),
  end_user: name,
});

/** The first generation: flat, every value a text. */
const flat = z.object({
  id: name,
  startTime: moment,
  model: name,
  user: name,
  usage: z.unknown(),
  metadata: object.optional().transform((value) => value ?? {}),
  cost: amount,
  cache_hit: z.union([z.boolean(), z.string()]).nullish(),
});

const text = (value: unknown) => (typeof value === 'string' && value !== '' && value !== 'None' ? value : null);
const countOf = (value: unknown) => (typeof value === 'number' ? value : 0);
const isTrue = (value: unknown) => String(value).toLowerCase() === 'true';

function parsePart<T>(schema: z.ZodType<T>, payload: unknown, index: number): T {
  const parsed = schema.safeParse(payload);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const message = `Item ${index + 1} of the webhook: ${issue?.path.join('.')} ${issue?.message}`;
  throw new HttpError(400, message, { code: 'bad_webhook' });
}

/** What the key's metadata says of the call, in both generations' names. */
function readHolder(metadata: Record<string, unknown>) {
  return {
    user: text(metadata.user_api_key_user_id),
    team: text(metadata.user_api_key_team_id),
    organization: text(metadata.user_api_key_org_id),
    keyAlias: text(metadata.user_api_key_alias),
    keyHash: text(metadata.user_api_key_hash) ?? text(metadata.user_api_key),
    fields: toFields(metadata),
  };
}

/**
 * A payload of LiteLLM's `generic_api` callback, either generation, as the same call that its row in the spend logs
 * gives. Throws HttpError 400 `bad_webhook`.
 */
export function fromWebhook(payload: Record<string, unknown>, index: number): Call {
  const isFlat = 'cost' in payload && !('response_cost' in payload);
  const common = { source: 'webhook', isBilledElsewhere: false, isEstimated: false } as const;
  if (isFlat) {
    const call = parsePart(flat, payload, index);
    const usage = isObject(call.usage) ? call.usage : readPythonRecord(String(call.usage ?? ''));
    const holder = readHolder(call.metadata);
    const [startedAt, model] = [call.startTime, call.model ?? ''];
    const requestId = toRequestId(call.id, { startedAt, keyHash: holder.keyHash, model });
    const [prompt, completion] = [countOf(usage.prompt_tokens), countOf(usage.completion_tokens)];
    return {
      ...common,
      ...holder,
      id: toCallId('litellm', requestId),
      requestId,
      startedAt,
      model,
      provider: null,
      spend: call.cost,
      prompt,
      completion,
      total: countOf(usage.total_tokens),
      tokens: readLitellmTokens(usage, { prompt, completion }),
      endUser: call.user,
      tags: textsOf(call.metadata.tags),
      isFailure: false,
      isCacheHit: isTrue(call.cache_hit),
    };
  }
  const call = parsePart(standard, payload, index);
  const holder = readHolder(call.metadata);
  const [startedAt, model] = [call.startTime, call.model ?? ''];
  const requestId = toRequestId(call.id, { startedAt, keyHash: holder.keyHash, model });
  const [prompt, completion] = [call.prompt_tokens, call.completion_tokens];
  return {
    ...common,
    ...holder,
    id: toCallId('litellm', requestId),
    requestId,
    startedAt,
    model,
    provider: call.custom_llm_provider,
    spend: call.response_cost,
    prompt,
    completion,
    total: call.total_tokens,
    tokens: readLitellmTokens(call.metadata.usage_object ?? call.hidden_params.usage_object, { prompt, completion }),
    endUser: call.end_user ?? text(call.metadata.user_api_key_end_user_id),
    tags: call.request_tags,
    isFailure: call.status === 'failure',
    isCacheHit: isTrue(call.cache_hit),
  };
}
