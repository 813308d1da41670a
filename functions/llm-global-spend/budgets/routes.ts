import { HttpError } from '#shared/errors.ts';
import type { FunctionResponse } from '#shared/http/function.ts';
import { json } from '#shared/http/respond.ts';
import { createTick } from '#shared/http/tick.ts';
import type { Route, RouteCall, RoutingTable } from '../routes.ts';
import { toMark } from './alert.ts';
import type { Budgets } from './check.ts';
import { toWireState } from './state.ts';

const rank = { over: 0, warning: 1, unknown: 2, ok: 3 };

export function refuseParameters({ event }: RouteCall): void {
  const [name] = event.query.keys();
  if (name === undefined) return;
  throw new HttpError(400, `Unknown parameter ${JSON.stringify(name.slice(0, 60))}: ${event.path} takes none`, {
    code: 'unknown_parameter',
  });
}

/** `GET /budgets`, `POST /budgets` (checks and alerts now, then answers the same), and the scheduled tick. */
export function createBudgetRoutes(
  budgets: Budgets,
  stopping: AbortSignal,
): { routes: RoutingTable['routes']; tick: Route } {
  async function answerStates({ context }: RouteCall, outcome?: object): Promise<FunctionResponse> {
    const states = await budgets.states(context.signal);
    const shown = await Promise.all(
      states.map(async (state) => {
        const wire = toWireState(state);
        const thresholds = await Promise.all(
          wire.thresholds.map(async (threshold) => ({
            ...threshold,
            alerted_at: await budgets.outbox.toldAt(toMark(state, threshold.percent)),
          })),
        );
        return { ...wire, thresholds };
      }),
    );
    shown.sort((left, right) => rank[left.state] - rank[right.state] || (right.percent ?? 0) - (left.percent ?? 0));
    const waiting = await budgets.outbox.waiting();
    return json(200, {
      budgets: shown,
      alerts: {
        webhook: budgets.hasWebhook,
        waiting: waiting.length,
        durable: budgets.durable,
        notes: budgets.durable ? [] : [notDurable],
        ...outcome,
      },
    });
  }

  const tick = createTick(async ({ log }) => {
    const outcome = await budgets.check({ signal: stopping, log });
    log.info('budgets checked', { ...outcome });
  });

  return {
    routes: {
      'GET /budgets': async (call) => {
        refuseParameters(call);
        return answerStates(call);
      },
      'POST /budgets': async (call) => {
        refuseParameters(call);
        const { context } = call;
        return answerStates(call, await budgets.check(context));
      },
    },
    tick: ({ context }) => tick(context),
  };
}

const notDurable = {
  code: 'not_durable',
  message:
    'Without the secret store-url what was told lies in the temporary folder of each replica: an alert may come once a replica, and again after a restart',
};
