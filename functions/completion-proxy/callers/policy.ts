import * as z from 'zod/mini';
import { keyNames } from '#shared/auth/keys.ts';
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

const count = z.optional(z.int('must be a whole number').check(z.positive('must be above 0'), z.maximum(1e12)));
const entry = z.strictObject({
  admin: z.optional(z.boolean('must be true or false')),
  models: z.optional(
    z
      .array(z.string('must be a text').check(z.minLength(1, 'must not be empty')), 'must be a list of names')
      .check(z.minLength(1, 'must not be empty')),
  ),
  requests_per_minute: count,
  tokens_per_minute: count,
  daily_budget_usd: z.optional(
    z.transform((value: unknown, context): number => {
      try {
        const nano = (typeof value === 'string' || typeof value === 'number' ? parseUsd(value) : 0n) / 1_000n;
        if (nano > 0n && nano < 1_000_000_000_000_000n) return Number(nano);
      } catch {
        // Said below.
      }
      const message = 'must be an amount of US dollars above 0, such as 5 or "0.50"';
      context.issues.push({ code: 'custom', input: value, message });
      return z.NEVER;
    }),
  ),
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
  const parsed = z.safeParse(z.record(z.string().check(z.minLength(1)), entry), value);
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

/**
 * Entries that hold for nobody, most of all misspelt ones: the key that was meant has no limits. `lines` is the secret
 * `function-api-key`, which may get such a key later.
 */
export function entriesForNobody(policies: Policies, lines: string, isOpen: boolean): string[] {
  const names = new Set(['*', ...keyNames(lines), ...(isOpen ? ['anonymous'] : [])]);
  return [...policies.keys()].filter((name) => !names.has(name));
}
