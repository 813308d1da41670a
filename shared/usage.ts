import * as z from 'zod';

const count = z.int().nonnegative();

/**
 * One call's usage, as completion-proxy reports it and lago-usage-push bills it (DESIGN: the one contract between them).
 * An absent token type was not reported; it is not 0.
 */
export const usageRecord = z.object({
  id: z.string().min(1).max(200),
  /** The answer's own id (`chatcmpl-...`), where it had one. */
  upstream_id: z.string().nullable(),
  litellm_call_id: z.string().nullable(),
  /** `litellm`: LiteLLM logs this call itself, so it is never billed from here. */
  billed_by: z.enum(['litellm']).nullable(),
  /** ISO 8601, milliseconds, UTC. */
  started_at: z.iso.datetime({ precision: 3 }),
  ended_at: z.iso.datetime({ precision: 3 }),
  caller: z.string(),
  end_user: z.string().nullable(),
  model: z.string(),
  requested_model: z.string(),
  backend: z.string(),
  provider: z.string(),
  status: z.int(),
  outcome: z.enum(['ok', 'client_abort', 'upstream_error', 'timeout']),
  tokens: z.object({
    input: count.optional(),
    output: count.optional(),
    cached_input: count.optional(),
    cache_creation: count.optional(),
    reasoning: count.optional(),
    audio_input: count.optional(),
    audio_output: count.optional(),
    image_input: count.optional(),
  }),
  usage_source: z.enum(['upstream', 'estimated', 'absent']),
  /** US dollars as a plain decimal, or null when the price is not known. */
  cost_usd: z
    .string()
    .regex(/^\d+(\.\d+)?$/)
    .nullable(),
});

export type UsageRecord = z.infer<typeof usageRecord>;

export const usageBatch = z.object({ version: z.literal(1), records: z.array(usageRecord).max(1000) });
