import { HttpError } from '#shared/errors.ts';
import { formatUsd, type PicoUsd } from '#shared/money.ts';
import type { CallRecord } from '../records/record.ts';
import type { CallFacts } from '../road/observer.ts';
import { notFound } from '../routing/plan.ts';
import { type AddShared, Meter } from './meter.ts';
import type { Policies, Policy } from './policy.ts';

export interface LimitsOptions {
  policies: Policies;
  /** undefined: each replica counts alone. */
  addShared: AddShared | undefined;
  now: () => number;
  onStoreError?: (error: unknown) => void;
}

export interface Limits {
  mayUse(caller: string, model: string): boolean;
  /** Whether a caller sees what others do: everybody, as long as nobody has an entry in CALLERS. */
  isAdmin(caller: string): boolean;
  /** Counts the call. Throws HttpError 400, 403, 404 and 429 with `Retry-After`. */
  admit(facts: CallFacts): void;
  /** A sink of the recorder: charges what a call used and cost. */
  settle(record: CallRecord, cost: PicoUsd | undefined): void;
  /** `x-ratelimit-*` for a caller who has limits. */
  headers(caller: string): Field[];
  /** What `GET /_proxy/key` answers. */
  describe(caller: string): Record<string, unknown>;
}

const minuteMs = 60_000;
const dayMs = 86_400_000;

type Field = [name: string, value: string];

interface Account {
  policy: Policy;
  requests: Meter | undefined;
  tokens: Meter | undefined;
  budget: Meter | undefined;
  /** What a caller is told of each of the first two. */
  tell: ReturnType<typeof createFields>[];
}

const toUsd = (nano: number) => formatUsd(BigInt(nano) * 1_000n);
const secondsUntil = (at: number, now: number) => Math.max(1, Math.ceil((at - now) / 1_000));

/** The fields of one limit. They go with every answer: the one that stays is made once, the reset once a second. */
function createFields(what: string, meter: Meter): (fields: Field[], now: number) => void {
  const limit: Field = [`x-ratelimit-limit-${what}`, String(meter.limit)];
  const remaining = `x-ratelimit-remaining-${what}`;
  let reset: Field = [`x-ratelimit-reset-${what}`, ''];
  let resetIn = 0;
  return (fields, now) => {
    const seconds = secondsUntil(meter.resetsAt(now), now);
    if (seconds !== resetIn) reset = [reset[0], `${seconds}s`];
    resetIn = seconds;
    fields.push(limit, [remaining, String(Math.max(0, meter.left(now)))], reset);
  };
}

/**
 * What callers may do, held per key. A call is refused when a limit is used up before it; what it then uses is charged
 * when it has ended, so that one call may go beyond tokens or budget. With `addShared` the counts are everybody's (see
 * Meter for how far they can be passed).
 */
export function createLimits({ policies, addShared, now, onStoreError }: LimitsOptions): Limits {
  const accounts = new Map<string, Account | undefined>();

  function createAccount(caller: string, policy: Policy): Account {
    const meter = (limit: number | undefined, windowMs: number, what: string) =>
      limit === undefined
        ? undefined
        : new Meter({
            limit,
            windowMs,
            key: `limit/${caller}/${what}`,
            addShared,
            now,
            ...(onStoreError === undefined ? {} : { onStoreError }),
          });
    const requests = meter(policy.requestsPerMinute, minuteMs, 'requests');
    const tokens = meter(policy.tokensPerMinute, minuteMs, 'tokens');
    const tell = [
      ...(requests === undefined ? [] : [createFields('requests', requests)]),
      ...(tokens === undefined ? [] : [createFields('tokens', tokens)]),
    ];
    return { policy, requests, tokens, budget: meter(policy.dailyBudgetNanoUsd, dayMs, 'budget'), tell };
  }

  function accountOf(caller: string): Account | undefined {
    if (accounts.has(caller)) return accounts.get(caller);
    const policy = policies.get(caller) ?? policies.get('*');
    const account = policy && createAccount(caller, policy);
    // Names are those of the keys, so that there are no more of them than an operator made.
    accounts.set(caller, account);
    return account;
  }

  function fieldsOf({ tell }: Account): Field[] {
    const fields: Field[] = [];
    const at = now();
    for (const each of tell) each(fields, at);
    return fields;
  }

  function refuse(account: Account, meter: Meter, code: string, message: string): never {
    const seconds = secondsUntil(meter.resetsAt(), now());
    throw new HttpError(429, `${message}: try again in ${seconds} s`, {
      code,
      headers: { ...Object.fromEntries(fieldsOf(account)), 'Retry-After': String(seconds) },
    });
  }

  function checkRoute(policy: Policy, { isLlm, method, requestedModel }: CallFacts) {
    const { models, tokensPerMinute, dailyBudgetNanoUsd } = policy;
    const isHeld = models !== undefined || tokensPerMinute !== undefined || dailyBudgetNanoUsd !== undefined;
    // What cannot be held against the list, or is not counted, is not let past it.
    if (isHeld && !isLlm && method !== 'GET' && method !== 'HEAD') {
      throw new HttpError(403, 'This key is for the routes of models only', { code: 'path_not_allowed' });
    }
    if (models === undefined) return;
    if (requestedModel !== undefined) {
      if (!models.matches(requestedModel)) throw notFound(requestedModel, [...models.texts]);
      return;
    }
    if (isLlm) {
      throw new HttpError(400, 'This key is for some models only: name the "model" at the beginning of the body', {
        code: 'model_required',
      });
    }
  }

  return {
    mayUse(caller, model) {
      return accountOf(caller)?.policy.models?.matches(model) ?? true;
    },

    isAdmin: (caller) => policies.size === 0 || accountOf(caller)?.policy.isAdmin === true,

    admit(facts) {
      const account = accountOf(facts.caller.name);
      if (account === undefined) return;
      checkRoute(account.policy, facts);
      if (!facts.isLlm) return;
      const { requests, tokens, budget } = account;
      const at = now();
      requests?.refresh(at);
      tokens?.refresh(at);
      budget?.refresh(at);
      if (budget !== undefined && budget.left(at) <= 0) {
        refuse(account, budget, 'budget_exceeded', `The daily budget of ${toUsd(budget.limit)} USD is spent`);
      }
      if (tokens !== undefined && tokens.left(at) <= 0) {
        refuse(account, tokens, 'token_limit', `The limit of ${tokens.limit} tokens a minute is reached`);
      }
      if (requests !== undefined) {
        if (requests.left(at) <= 0) {
          refuse(account, requests, 'rate_limit', `The limit of ${requests.limit} requests a minute is reached`);
        }
        requests.use(1, at);
      }
    },

    settle({ caller, tokens: used, provider }, cost) {
      const account = accountOf(caller);
      if (account === undefined) return;
      const { input = 0, output = 0, cached_input = 0, cache_creation = 0 } = used;
      // Anthropic counts the cached parts beside the input.
      const total = input + output + (provider === 'anthropic' ? cached_input + cache_creation : 0);
      if (total > 0) account.tokens?.use(total);
      if (cost !== undefined) account.budget?.use(Number((cost + 999n) / 1_000n));
    },

    headers(caller) {
      const account = accountOf(caller);
      return account === undefined ? [] : fieldsOf(account);
    },

    describe(caller) {
      const account = accountOf(caller);
      const limitOf = (meter: Meter | undefined) =>
        meter === undefined
          ? null
          : {
              limit: meter.limit,
              remaining: Math.max(0, meter.left()),
              resets_at: new Date(meter.resetsAt()).toISOString(),
            };
      for (const meter of [account?.requests, account?.tokens, account?.budget]) meter?.refresh();
      const budget = account?.budget;
      return {
        name: caller,
        models: account?.policy.models?.texts ?? null,
        requests_per_minute: limitOf(account?.requests),
        tokens_per_minute: limitOf(account?.tokens),
        daily_budget_usd:
          budget === undefined
            ? null
            : {
                limit: toUsd(budget.limit),
                spent: toUsd(budget.limit - budget.left()),
                remaining: toUsd(Math.max(0, budget.left())),
                resets_at: new Date(budget.resetsAt()).toISOString(),
              },
      };
    },
  };
}
