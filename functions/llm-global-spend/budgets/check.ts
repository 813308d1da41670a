import type { Logger } from '#shared/http/function.ts';
import type { Store } from '#shared/store/store.ts';
import type { Reports } from '../report/report.ts';
import { dueAlerts, toMark } from './alert.ts';
import type { Budget } from './budget.ts';
import { createOutbox, type Outbox } from './outbox.ts';
import { type Period, previousPeriod, toPeriod } from './period.ts';
import { readStates } from './read.ts';
import type { BudgetState } from './state.ts';
import type { PostAlert } from './webhook.ts';

const leaseMs = 5 * 60_000;
const checkedKey = 'budgets/checked-at';
// LiteLLM writes a row when its request ends, and files it under the day on which it began.
const lateRowsMs = 60 * 60_000;

export interface BudgetsOptions {
  budgets: Budget[];
  reports: Pick<Reports, 'read'>;
  store: Store;
  /** Undefined where no webhook is set: nothing is queued then. */
  post: PostAlert | undefined;
  now: () => Date;
}

export interface CheckOutcome {
  /** False when another replica is at it. */
  checked: boolean;
  sent: number;
  waiting: number;
}

export interface Budgets {
  readonly count: number;
  readonly hasWebhook: boolean;
  readonly durable: boolean;
  outbox: Pick<Outbox, 'waiting' | 'toldAt'>;
  /** Every budget in the period that now lies in. */
  states(signal: AbortSignal): Promise<BudgetState[]>;
  /** Evaluates, queues what is due and delivers what is queued. One replica at a time. */
  check(context: { signal: AbortSignal; log: Logger }): Promise<CheckOutcome>;
}

/**
 * The period that is over is looked at until a check has come an hour after its end: what was spent between the last
 * tick and its end would be told by nobody. Not before the first check ever, which would tell old news.
 */
function periodsOf(budget: Budget, now: Date, checkedMs: number | undefined): Period[] {
  const current = toPeriod(budget.period, now);
  const previous = previousPeriod(current);
  const isOpen = checkedMs !== undefined && checkedMs < previous.endMs + lateRowsMs;
  return isOpen ? [previous, current] : [current];
}

export function createBudgets({ budgets, reports, store, post, now }: BudgetsOptions): Budgets {
  const outbox = createOutbox(store, () => now().getTime());

  async function queueDue(signal: AbortSignal, log: Logger) {
    const at = now();
    const checkedMs = (await store.kv.get(checkedKey)) as number | undefined;
    const wanted = budgets.flatMap((budget) => periodsOf(budget, at, checkedMs).map((period) => ({ budget, period })));
    const states = await readStates({ reports, wanted, now: at, signal });
    for (const state of states) {
      const marks = [...state.reached, 'forecast' as const].map((what) => toMark(state, what));
      const told = await outbox.told(marks);
      for (const due of dueAlerts(state, (mark) => told.has(mark), at)) await outbox.queue(due);
    }
    const unknown = states.filter(({ level }) => level === 'unknown');
    if (unknown.length === 0) await store.kv.put(checkedKey, at.getTime());
    else log.warn('some budgets could not be read', { count: unknown.length, reason: unknown[0]?.notes[0]?.message });
  }

  return {
    count: budgets.length,
    hasWebhook: post !== undefined,
    durable: store.durable,
    outbox,
    states(signal) {
      const at = now();
      const wanted = budgets.map((budget) => ({ budget, period: toPeriod(budget.period, at) }));
      return readStates({ reports, wanted, now: at, signal });
    },
    async check({ signal, log }) {
      if (post === undefined) return { checked: false, sent: 0, waiting: 0 };
      const lease = await store.lease('budgets', leaseMs);
      if (lease === null) return { checked: false, sent: 0, waiting: 0 };
      try {
        await queueDue(signal, log);
        return { checked: true, ...(await outbox.deliver({ post, lease, signal, log })) };
      } finally {
        await lease.release();
      }
    },
  };
}
