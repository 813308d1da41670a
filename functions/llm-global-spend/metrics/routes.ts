import { text } from '#shared/http/respond.ts';
import { metricsContentType } from '#shared/metrics.ts';
import type { Budgets } from '../budgets/check.ts';
import { refuseParameters } from '../budgets/routes.ts';
import { toPartsMs } from '../parts.ts';
import type { Reports } from '../report/report.ts';
import type { RouteCall, RoutingTable } from '../routes.ts';
import { renderMetrics, renderWindow } from './metrics.ts';

export interface MetricsRoutesOptions {
  reports: Reports;
  budgets: Pick<Budgets, 'states'>;
  now: () => Date;
  maxSeries: number;
  /** The whole answer's. */
  deadlineMs: number;
}

/** `GET /metrics`, and `format=prometheus`: alone the same, with other parameters their window. */
export function createMetricsRoutes(options: MetricsRoutesOptions): Pick<RoutingTable, 'routes' | 'renderers'> {
  const { reports, budgets, now, maxSeries, deadlineMs } = options;
  const answer = (body: string) => text(200, body, { 'Content-Type': metricsContentType });

  async function answerAll({ context: { signal } }: RouteCall) {
    const partsMs = toPartsMs(deadlineMs);
    return answer(await renderMetrics({ reports, budgets, maxSeries, signal, now: now(), partsMs }));
  }

  return {
    routes: {
      'GET /metrics': async (call) => {
        refuseParameters(call);
        return answerAll(call);
      },
    },
    renderers: {
      prometheus: async (query, call) => {
        const { event, context } = call;
        if (event.method === 'GET' && event.query.size === 1) return answerAll(call);
        return answer(await renderWindow(query, { reports, maxSeries, signal: context.signal }));
      },
    },
  };
}
