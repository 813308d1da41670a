import type { CustomerInput, SubscriptionInput } from '#shared/clients/lago-customers.ts';
import type { Difference } from './charges.ts';
import type { Diff, LagoState } from './diff.ts';

export interface Subscribers {
  customers: CustomerInput[];
  subscriptions: SubscriptionInput[];
}

function diffCustomers(wanted: CustomerInput[], state: LagoState, diff: Diff) {
  for (const input of wanted) {
    const id = input.external_id;
    const found = state.customers.get(id);
    const changes: Record<string, Difference> = {};
    if (input.name !== undefined && input.name !== found?.name)
      changes.name = { from: found?.name ?? null, to: input.name };
    if (input.email !== undefined && input.email !== found?.email) {
      changes.email = { from: found?.email ?? null, to: input.email };
    }
    if (found === undefined) {
      diff.changes.push({ kind: 'customer', id, action: 'create' });
      diff.operations.push({ do: 'write_customer', input });
    } else if (input.currency !== undefined && found.currency !== null && found.currency !== input.currency) {
      const shown = { currency: { from: found.currency, to: input.currency } };
      const note = 'Lago keeps the currency of a customer who has a subscription';
      diff.changes.push({ kind: 'customer', id, action: 'conflict', changes: shown, note });
    } else if (Object.keys(changes).length > 0) {
      diff.changes.push({ kind: 'customer', id, action: 'update', changes });
      diff.operations.push({ do: 'write_customer', input });
    } else diff.changes.push({ kind: 'customer', id, action: 'unchanged' });
  }
}

function diffSubscriptions(wanted: SubscriptionInput[], planCodes: Set<string>, state: LagoState, diff: Diff) {
  for (const input of wanted) {
    const id = input.external_id;
    const found = state.subscriptions.get(id);
    const conflict = (note: string, changes?: Record<string, Difference>) =>
      diff.changes.push({
        kind: 'subscription',
        id,
        action: 'conflict',
        note,
        ...(changes === undefined ? {} : { changes }),
      });
    if (found === undefined && !planCodes.has(input.plan_code) && !state.plans.has(input.plan_code)) {
      conflict(`neither the plan file nor Lago has the plan ${input.plan_code}`);
    } else if (found === undefined) {
      diff.changes.push({ kind: 'subscription', id, action: 'create' });
      diff.operations.push({ do: 'create_subscription', input });
    } else if (found.status === 'terminated') {
      conflict(`it ended at ${found.terminatedAt?.toISOString()}: begin another one under another external_id`);
    } else if (found.customerId !== input.external_customer_id) {
      const changes = { external_customer_id: { from: found.customerId, to: input.external_customer_id } };
      conflict('the id belongs to a subscription of another customer', changes);
    } else if (found.planCode !== input.plan_code) {
      const changes = { plan_code: { from: found.planCode, to: input.plan_code } };
      conflict('Lago would upgrade or downgrade the subscription, with an invoice: do that in Lago', changes);
    } else {
      const wantedStart = input.subscription_at === undefined ? undefined : new Date(input.subscription_at);
      const startedAt = found.startedAt ?? found.subscriptionAt;
      const isLater = wantedStart !== undefined && startedAt !== null && startedAt > wantedStart;
      const note = `it began at ${startedAt?.toISOString()}, and Lago cannot set that back: earlier usage is not billed`;
      diff.changes.push({ kind: 'subscription', id, action: 'unchanged', ...(isLater ? { note } : {}) });
    }
  }
}

/** Who pays, compared with Lago: created where missing, never moved to another plan, never ended. */
export function diffSubscribers(
  { customers, subscriptions }: Subscribers,
  planCodes: Set<string>,
  state: LagoState,
): Diff {
  const diff: Diff = { changes: [], operations: [] };
  diffCustomers(customers, state, diff);
  diffSubscriptions(subscriptions, planCodes, state, diff);
  return diff;
}
