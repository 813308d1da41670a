import * as z from 'zod/mini';
import { type PicoUsd, parseUsd } from '#shared/money.ts';

export const scopes = ['proxy', 'team', 'user', 'key', 'end_user'] as const;
export type Scope = (typeof scopes)[number];

export const periodKinds = ['day', 'week', 'month'] as const;
export type PeriodKind = (typeof periodKinds)[number];

/** What someone may spend in each day, week (from Monday) or month, in UTC. */
export interface Budget {
  /** For people, and unique. */
  name: string;
  scope: Scope;
  /** An id, or the name that reports show for it; "" for the proxy. */
  id: string;
  period: PeriodKind;
  limit: PicoUsd;
  /** Percent of the limit, ascending. */
  thresholds: number[];
  /** Also tells, once a period, that the limit will be passed if the spending goes on as it did so far. */
  forecast: boolean;
}

const nameLength = 100;

const money = z.transform((value: unknown, context): PicoUsd => {
  try {
    const limit = typeof value === 'string' || typeof value === 'number' ? parseUsd(value) : 0n;
    if (limit > 0n) return limit;
  } catch {
    // Text that is no amount is told like an amount that is none.
  }
  const message = 'must be an amount of US dollars above 0, such as 500 or "0.25"';
  context.issues.push({ code: 'custom', input: value, message });
  return z.NEVER;
});

const scopeError = { error: `must be one of ${scopes.join(', ')}` };
const periodError = { error: `must be one of ${periodKinds.join(', ')}` };
const percent = z
  .int({ error: ({ code }) => (code === 'invalid_type' ? 'must be a number' : 'must be whole') })
  .check(z.minimum(1, 'must be 1 or more'), z.maximum(1000, 'must be 1000 or less'));
const line = (length: number) =>
  z
    .string('must be a text')
    .check(
      z.trim(),
      z.minLength(1, 'must not be empty'),
      z.maxLength(length, `must have at most ${length} characters`),
    );

const entry = z
  .strictObject({
    name: z.optional(line(nameLength)),
    scope: z.enum(scopes, scopeError),
    id: z.optional(line(500)),
    period: z.enum(periodKinds, periodError),
    limit_usd: money,
    thresholds: z.optional(
      z.array(percent, 'must be a list of percentages').check(z.maxLength(20, 'must have at most 20 percentages')),
    ),
    forecast: z.optional(z.boolean('must be true or false')),
  })
  .check(({ value: { scope, id }, issues }) => {
    const refuse = (message: string) => issues.push({ code: 'custom', path: ['id'], message, input: id });
    if (scope === 'proxy' && id !== undefined) refuse('is not for the scope proxy, which is everybody');
    if (scope !== 'proxy' && id === undefined) refuse(`must say which ${scope}`);
    // It would stand in the environment, in logs of deployments and in the answer of /budgets.
    if (scope === 'key' && id?.startsWith('sk-'))
      refuse('must be the hash or the alias of a key, never the key itself');
  });

/** Scope, id, period and limit: what alerts are remembered by. A raised limit is a new budget, with alerts of its own. */
export const toBudgetKey = ({ scope, id, period, limit }: Budget) => `${scope}:${id}/${period}/${limit}`;

/**
 * Reads `SPEND_BUDGETS`: a JSON list. `thresholds` is 50, 80, 100 and `forecast` is true by default. Returns sentences
 * that say where and what is wrong, and show no value.
 */
export function parseBudgets(text: string): { budgets: Budget[] } | { problems: string[] } {
  let input: unknown;
  try {
    input = JSON.parse(text);
  } catch {
    return { problems: ['must be JSON: a list of budgets'] };
  }
  const parsed = z.safeParse(
    z.array(entry, 'must be a list of budgets').check(z.maxLength(500, 'must be 500 at most')),
    input,
  );
  if (!parsed.success) {
    return {
      problems: parsed.error.issues.map(({ path, message, code, ...issue }) => {
        const [index, field] = path;
        if (index === undefined) return message;
        const where = `budget ${Number(index) + 1}${field === undefined ? '' : `, ${String(field)}`}`;
        return code === 'unrecognized_keys'
          ? `${where}: has no field ${(issue as { keys: string[] }).keys.map((key) => JSON.stringify(key)).join(', ')}`
          : `${where}: ${message}`;
      }),
    };
  }
  const budgets = parsed.data.map(({ scope, id = '', period, limit_usd: limit, ...given }) => ({
    name: given.name ?? `${scope === 'proxy' ? 'everything' : `${scope} ${id}`} per ${period}`.slice(0, nameLength),
    scope,
    id,
    period,
    limit,
    thresholds: [...new Set(given.thresholds ?? [50, 80, 100])].sort((left, right) => left - right),
    forecast: given.forecast ?? true,
  }));
  const problems = [
    ...repeated(budgets.map(({ name }) => name)).map((at) => `budget ${at + 1}, name: another budget has it`),
    ...repeated(budgets.map(toBudgetKey)).map((at) => `budget ${at + 1}: is the same as an earlier one`),
  ];
  return problems.length > 0 ? { problems } : { budgets };
}

const repeated = (keys: string[]) => keys.flatMap((key, at) => (keys.indexOf(key) < at ? [at] : []));
