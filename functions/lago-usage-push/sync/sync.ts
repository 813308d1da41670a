import type { LagoSubscription } from '#shared/clients/lago-customers.ts';
import type { LitellmClient } from '#shared/clients/litellm.ts';
import { HttpError } from '#shared/errors.ts';
import type { Change } from '../provision/diff.ts';
import { type ProvisionDependencies, provisionSubscribers } from '../provision/provision.ts';
import { type Account, type AccountKind, findPlanCode, type SyncRule } from './rule.ts';

export interface SyncDependencies extends ProvisionDependencies {
  litellm: Pick<LitellmClient, 'teams' | 'users' | 'keys' | 'endUsers'>;
  /** The subscription of an account's ids, as the push finds it; undefined where a mapping lacks them. */
  toSubscription: (ids: string[]) => string | undefined;
  /** ms since 1970: from when the push bills. */
  billFrom: number | undefined;
  /** How long a call works; what is left then is done by the next one. */
  runMs: number;
  now: () => number;
}

interface Wanted {
  account: Account;
  externalId: string;
  planCode: string;
}

/** Each account of LiteLLM is in one of the lists. */
export interface SyncResult {
  dry_run: boolean;
  /** False: time was up; the same call again goes on. */
  complete: boolean;
  accounts: number;
  /** Have their subscription. */
  unchanged: number;
  /** Had none: with `dry_run` false and `complete` they have it now, but for those among the conflicts. */
  only_in_litellm: { external_id: string; name: string | null; plan_code: string }[];
  /** Active subscriptions of these plans that nobody in LiteLLM stands behind. They are left as they are. */
  only_in_lago: { external_id: string; external_customer_id: string; plan_code: string }[];
  /** On another plan than the rule says. They are left as they are: Lago would write an invoice. */
  other_plan: { external_id: string; plan_code: string; rule_says: string }[];
  skipped: { id: string; reason: 'no_plan' | 'not_in_map' | 'slash_in_id' }[];
  conflicts: Change[];
  applied: number;
}

const readers: Record<AccountKind, (litellm: SyncDependencies['litellm'], signal?: AbortSignal) => Promise<Account[]>> =
  {
    team: async (litellm, signal) => (await litellm.teams(signal)).map(({ id, alias }) => ({ ids: [id], name: alias })),
    user: async (litellm, signal) => (await litellm.users(signal)).map(({ id, email }) => ({ ids: [id], name: email })),
    // The push bills a key by its alias, and by its hash where it has none.
    key: async (litellm, signal) =>
      (await litellm.keys(signal)).map(({ hash, alias }) => ({
        ids: alias === null ? [hash] : [alias, hash],
        name: alias,
      })),
    end_user: async (litellm, signal) =>
      (await litellm.endUsers(signal)).map(({ id, alias }) => ({ ids: [id], name: alias })),
  };

/** Sorts accounts by what the rule makes of them; pure. */
export function planSync(
  accounts: Account[],
  rule: SyncRule,
  toSubscription: SyncDependencies['toSubscription'],
): { wanted: Map<string, Wanted>; skipped: SyncResult['skipped'] } {
  const wanted = new Map<string, Wanted>();
  const skipped: SyncResult['skipped'] = [];
  for (const account of accounts) {
    const [id = ''] = account.ids;
    const planCode = findPlanCode(account, rule);
    const externalId = toSubscription(account.ids)?.trim();
    if (planCode === undefined) skipped.push({ id, reason: 'no_plan' });
    else if (externalId === undefined) skipped.push({ id, reason: 'not_in_map' });
    else if (externalId.includes('/')) skipped.push({ id, reason: 'slash_in_id' });
    else if (!wanted.has(externalId)) wanted.set(externalId, { account, externalId, planCode });
  }
  return { wanted, skipped };
}

/** What both sides have, by external id; pure. */
export function compareSides(wanted: Map<string, Wanted>, subscriptions: LagoSubscription[]) {
  const active = new Map(subscriptions.map((item) => [item.externalId, item]));
  const missing = [...wanted.values()].filter(({ externalId }) => !active.has(externalId));
  const otherPlan = [...wanted.values()].flatMap(({ externalId, planCode }) => {
    const found = active.get(externalId);
    if (found === undefined || found.planCode === planCode) return [];
    return [{ external_id: externalId, plan_code: found.planCode, rule_says: planCode }];
  });
  return { missing, otherPlan, unchanged: wanted.size - missing.length - otherPlan.length };
}

/**
 * Gives LiteLLM's accounts the subscriptions that the rule says, or with `dryRun` tells which. Nothing is moved to another
 * plan and nothing is ended. Throws HttpError 400 `unknown_plan` or `bad_rule`.
 */
export async function sync(
  dependencies: SyncDependencies,
  rule: SyncRule,
  { dryRun, signal }: { dryRun: boolean; signal?: AbortSignal | undefined },
): Promise<SyncResult> {
  const { litellm, customers, plans, billFrom, now } = dependencies;
  const deadline = now() + dependencies.runMs;
  const isTimeUp = () => now() >= deadline;
  const startsAt = rule.subscription_at ?? (billFrom === undefined ? undefined : new Date(billFrom).toISOString());
  if (startsAt === undefined) {
    const message = 'Say from when the subscriptions bill: subscription_at in the rule, or the setting BILL_FROM';
    throw new HttpError(400, message, { code: 'bad_rule' });
  }
  const codes = new Set([
    rule.plan_code,
    ...rule.rules.map((item) => ('plan_code' in item ? item.plan_code : undefined)),
  ]);
  codes.delete(undefined);
  for (const code of codes) {
    if ((await plans.findPlan(code as string, signal)) !== undefined) continue;
    throw new HttpError(400, `Lago has no plan ${code}: make it by POST /provision`, { code: 'unknown_plan' });
  }

  const accounts = await readers[rule.for](litellm, signal);
  const { wanted, skipped } = planSync(accounts, rule, dependencies.toSubscription);
  const subscriptions = [
    ...(await customers.listSubscriptions({ status: 'pending' }, signal)),
    ...(await customers.listSubscriptions({ status: 'active' }, signal)),
  ];
  const { missing, otherPlan, unchanged } = compareSides(wanted, subscriptions);
  const subscribers = missing.map(({ account, externalId, planCode }) => ({
    customer: { external_id: externalId, ...(account.name === null ? {} : { name: account.name }) },
    subscription: {
      external_id: externalId,
      external_customer_id: externalId,
      plan_code: planCode,
      billing_time: rule.billing_time,
      subscription_at: startsAt,
    },
  }));
  const done = await provisionSubscribers(dependencies, subscribers, { dryRun, signal, isTimeUp });
  return {
    dry_run: dryRun,
    complete: done.complete,
    accounts: accounts.length,
    unchanged,
    only_in_litellm: missing.map(({ account, externalId, planCode }) => ({
      external_id: externalId,
      name: account.name,
      plan_code: planCode,
    })),
    only_in_lago: subscriptions
      .filter((item) => codes.has(item.planCode) && !wanted.has(item.externalId))
      .map((item) => ({
        external_id: item.externalId,
        external_customer_id: item.customerId,
        plan_code: item.planCode,
      })),
    other_plan: otherPlan,
    skipped,
    conflicts: done.changes.filter(({ action }) => action === 'conflict'),
    applied: done.applied,
  };
}
