import { createHash } from 'node:crypto';
import * as z from 'zod';
import { formatUsd, type PicoUsd, parseUsd } from '#shared/money.ts';
import { tokenTypes } from './tokens.ts';

const name = z.string().nullable();

const pico = z.codec(z.string(), z.bigint(), { decode: (text) => parseUsd(text), encode: (value) => formatUsd(value) });

/** One call, whichever source told of it, with what billing looks at and nothing of its content. */
export const callShape = z.object({
  /** The same from every source; the ids of its events begin with it. */
  id: z.string(),
  /** As the source names it, for people who search. */
  requestId: z.string(),
  source: z.enum(['rows', 'webhook', 'usage', 'rollup']),
  /** ms since 1970, cut, not rounded: LiteLLM's table cuts too. */
  startedAt: z.number(),
  model: z.string(),
  provider: name,
  /** Null: nobody knows the price. */
  spend: pico.nullable(),
  prompt: z.number(),
  completion: z.number(),
  total: z.number(),
  /** Each token in one type only; types without tokens are absent. */
  tokens: z.partialRecord(z.enum(tokenTypes), z.number()),
  endUser: name,
  user: name,
  team: name,
  organization: name,
  keyAlias: name,
  keyHash: name,
  tags: z.array(z.string()),
  /** What `metadata:<field>` can find. */
  fields: z.record(z.string(), z.string()),
  isFailure: z.boolean(),
  isCacheHit: z.boolean(),
  /** LiteLLM bills it itself. */
  isBilledElsewhere: z.boolean(),
  isEstimated: z.boolean(),
});

export type Call = z.output<typeof callShape>;
export type StoredCall = z.input<typeof callShape>;

export const storeCall = (call: Call): StoredCall => ({
  ...call,
  spend: call.spend === null ? null : formatUsd(call.spend),
});

/** A call as the store gave it back. Throws ZodError. */
export const restoreCall = (stored: unknown): Call => callShape.parse(stored);

export const digest = (...parts: string[]) =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);

/**
 * The id of a call's events: two calls have two, whatever their names contain, and Lago wants it unique across
 * subscriptions and in a path. 191 characters at most, so that a token type still fits behind it.
 */
export function toCallId(origin: 'litellm' | 'record', requestId: string): string {
  return `${origin}-${digest(requestId)}-${requestId.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 150)}`;
}

/**
 * LiteLLM's own id of a call; some versions wrote "None" or nothing for every call without one, and those are told
 * apart by what row and webhook both know of them.
 */
export function toRequestId(
  id: string | null | undefined,
  call: { startedAt: number; keyHash: string | null; model: string },
): string {
  if (id !== undefined && id !== null && id !== '' && id !== 'None') return id;
  return `none:${call.startedAt}:${call.keyHash ?? ''}:${call.model}`;
}

/** Money of a call where it has some. */
export const spendOf = ({ spend }: Call): PicoUsd => spend ?? 0n;

/** What LiteLLM itself notes of the key, and no request can say; the end user's id is what the request said. */
export const isOfKey = (field: string) => field.startsWith('user_api_key_') && field !== 'user_api_key_end_user_id';

/**
 * The scalar entries that a payer can be looked up by: the request's `spend_logs_metadata` before LiteLLM's own names, but
 * for those that tell of the key.
 */
export function toFields(metadata: Record<string, unknown>): Record<string, string> {
  const said = metadata.spend_logs_metadata;
  const entries = [
    ...Object.entries(metadata),
    ...Object.entries(typeof said === 'object' && said !== null ? said : {}).filter(([key]) => !isOfKey(key)),
  ];
  return Object.fromEntries(
    entries
      .filter(([, value]) => typeof value === 'string' || typeof value === 'number')
      .map(([key, value]) => [key, String(value)] as const)
      .filter(([, value]) => value !== '' && value.length <= 255),
  );
}
