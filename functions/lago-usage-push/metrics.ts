import { createMetrics } from '#shared/metrics.ts';
import { formatUsd, parseUsd } from '#shared/money.ts';
import { skipReasons } from './billing/decide.ts';
import type { HeldSum } from './delivery/held.ts';
import type { Report } from './schedule/report.ts';

export interface PushMetrics {
  /** What a run did, and where it left things. */
  countRun(report: Report, held: HeldSum[], mark: number | undefined): void;
  /** How a run ended. */
  countOutcome(outcome: string): void;
  /** Calls that were pushed to us, by route. */
  countAccepted(route: 'webhook' | 'usage', calls: number): void;
  render(): string;
}

/** The function's Prometheus metrics; of this replica, as Prometheus adds replicas up itself. */
export function createPushMetrics(): PushMetrics {
  const metrics = createMetrics();
  const runs = metrics.counter('lago_push_runs_total', 'Runs by how they ended.', ['outcome']);
  const rows = metrics.counter('lago_push_calls_read_total', 'Calls read, by source.', ['source']);
  const events = metrics.counter('lago_push_events_total', 'Events by what became of them.', ['fate']);
  const skipped = metrics.counter('lago_push_calls_skipped_total', 'Calls that are not billed, by reason.', ['reason']);
  const accepted = metrics.counter('lago_push_accepted_calls_total', 'Calls that were pushed to us.', ['route']);
  const heldCalls = metrics.gauge('lago_push_held_calls', 'Calls that wait, by reason.', ['reason']);
  const heldUsd = metrics.gauge('lago_push_held_usd', 'What the calls that wait have cost.', ['reason']);
  const mark = metrics.gauge('lago_push_mark_seconds', 'Everything before this time is billed (unix seconds).');

  return {
    countRun(report, held, at) {
      rows.add(report.counts.rows, 'rows');
      rows.add(report.counts.inbox, 'inbox');
      events.add(report.counts.sent, 'sent');
      events.add(report.counts.already_there, 'already_there');
      events.add(report.deadCount.total, 'dead');
      events.add(report.unprocessed.length, 'unprocessed');
      for (const reason of skipReasons) skipped.add(report.skipped[reason], reason);
      heldCalls.clear();
      heldUsd.clear();
      for (const reason of new Set(held.map((sum) => sum.reason))) {
        const sums = held.filter((sum) => sum.reason === reason);
        heldCalls.set(
          sums.reduce((total, sum) => total + sum.rows, 0),
          reason,
        );
        const spend = sums.reduce((total, sum) => total + parseUsd(sum.spend_usd), 0n);
        heldUsd.set(Number(formatUsd(spend)), reason);
      }
      if (at !== undefined) mark.set(at / 1000);
    },
    countOutcome: (outcome) => runs.add(1, outcome),
    countAccepted: (route, calls) => accepted.add(calls, route),
    render: () => metrics.render(),
  };
}
