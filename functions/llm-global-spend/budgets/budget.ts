import * as z from 'zod';
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

const money = z.union([z.number(), z.string()]).transform((value, context) => {
  try {
    const limit = parseUsd(value);
    if (limit > 0n) return limit;
  } catch {}
  context.addIssue('must be an amount of US dollars above 0, such as 500 or "0.25"');
  return z.NEVER;
});

const scopeError = { error: `must be one of ${scopes.join(', ')}` };
const periodError = { error: `must be one of ${periodKinds.join(', ')}` };
const percent = z
  .number('must be a number')
  .int('must be whole')
  .min(1, 'must be 1 or more')
  .max(1000, 'must be 1000 or less');

const entry = z
  .strictObject({
    name: z.string('must be a text').trim().min(1, 'must not be empty').max(nameLength).optional(),
    scope: z.enum(scopes, scopeError),
    id: z.string('must be a text').trim().min(1, 'must not be empty').max(500).optional(),
    period: z.enum(periodKinds, periodError),
    limit_usd: money,
    thresholds: z.array(percent, 'must be a list of percentages').max(20).optional(),
    forecast: z.boolean('must be true or false').optional(),
  })
  .superRefine(({ scope, id }, context) => {
    const refuse = (message: string) => context.addIssue({ code: 'custom', path: ['id'], message });
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
  const parsed = z.array(entry, 'must be a list of budgets').max(500).safeParse(input);
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
