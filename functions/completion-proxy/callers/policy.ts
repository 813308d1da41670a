import * as z from 'zod';
import { ConfigError } from '#shared/errors.ts';
import { parseUsd } from '#shared/money.ts';
import { createPatterns, type Patterns } from '../backends/patterns.ts';

/** What a caller may do. Absent is no limit. */
export interface Policy {
  /** Sees the calls, logs and metrics of everybody; without it a key of the list sees its own calls. */
  isAdmin?: boolean | undefined;
  models?: Patterns | undefined;
  requestsPerMinute?: number | undefined;
  tokensPerMinute?: number | undefined;
  /** Nano-USD (1e-9), in a day of UTC. */
  dailyBudgetNanoUsd?: number | undefined;
}

/** By the name of the key; `*` is for everyone who has no entry. */
export type Policies = ReadonlyMap<string, Policy>;

const count = z.number().int().positive().max(1e12);
const entry = z.strictObject({
  admin: z.boolean().optional(),
  models: z.array(z.string().min(1)).min(1).optional(),
  requests_per_minute: count.optional(),
  tokens_per_minute: count.optional(),
  daily_budget_usd: z
    .union([z.number(), z.string()])
    .transform((value, context) => {
      try {
        const nano = parseUsd(value) / 1_000n;
        if (nano > 0n && nano < 1_000_000_000_000_000n) return Number(nano);
      } catch {
        // Said below.
      }
      context.addIssue('must be an amount of US dollars above 0, such as 5 or "0.50"');
      return z.NEVER;
    })
    .optional(),
});

/**
 * Reads `CALLERS`: `{"alice": {"models": ["gpt-4o*"], "requests_per_minute": 60, "tokens_per_minute": 100000,
 * "daily_budget_usd": 5}, "*": {...}}`. Throws ConfigError that names every bad place.
 */
export function parsePolicies(text: string): Policies {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ConfigError(['CALLERS: is not JSON']);
  }
  const parsed = z.record(z.string().min(1), entry).safeParse(value);
  if (!parsed.success) {
    throw new ConfigError(parsed.error.issues.map(({ path, message }) => `CALLERS.${path.join('.')}: ${message}`));
  }
  return new Map(
    Object.entries(parsed.data).map(([name, given]): [string, Policy] => [
      name,
      {
        isAdmin: given.admin,
        models: given.models && createPatterns(given.models),
        requestsPerMinute: given.requests_per_minute,
        tokensPerMinute: given.tokens_per_minute,
        dailyBudgetNanoUsd: given.daily_budget_usd,
      },
    ]),
  );
}
