import { HttpError } from '#shared/errors.ts';
import { createMetrics, type Gauge, type Metrics } from '#shared/metrics.ts';
import { type PicoUsd, usdToNumber } from '#shared/money.ts';
import type { BudgetState } from '../budgets/state.ts';
import { firstOfMonth, toDay } from '../days.ts';
import type { Dimension, SpendQuery } from '../report/query.ts';
import { type Reports, type SpendReport, toQuery } from '../report/report.ts';

export interface SpendMetricsOptions {
  reports: Reports;
  /** Models, teams or users that get a series of their own: those with most spend. The rest is one series, `other`. */
  maxSeries: number;
  signal: AbortSignal;
}

/** The groups with most spend by id, and the sum of the others as `other`: together they stay the total. */
export function capGroups({ groups }: Pick<SpendReport, 'groups'>, by: Dimension, maxSeries: number) {
  const capped = new Map<string, { name: string; spend: PicoUsd }>();
  groups.forEach((group, at) => {
    const label = at < maxSeries ? group.by[by] : { id: 'other', name: 'other' };
    if (label === undefined) return;
    const known = capped.get(label.id);
    if (known === undefined) capped.set(label.id, { name: label.name, spend: group.spend });
    else known.spend += group.spend;
  });
  return capped;
}

/** Registers what every answer has, also before its first series. `models` have no name but their own. */
function createSpendGauges(metrics: Metrics, dimensions: readonly Dimension[]) {
  const gaugeBy = (by: Dimension) =>
    metrics.gauge(
      `llm_spend_by_${by}_usd`,
      `US dollars spent in a window by ${by.replace('_', ' ')}; the smallest are summed as "other".`,
      by === 'model' ? ['window', by] : ['window', by, 'name'],
    );
  return {
    total: metrics.gauge('llm_spend_usd', 'US dollars spent through LiteLLM in a window.', ['window']),
    complete: metrics.gauge('llm_spend_complete', '0 where the spend of a window is known to lack something.', [
      'window',
    ]),
    by: new Map<Dimension, Gauge>(dimensions.map((by) => [by, gaugeBy(by)])),
  };
}

const usual = ['model', 'team', 'user'] as const;

/** Adds one window by one dimension; nothing where LiteLLM is too old to know it. */
async function addGroups(
  { reports, maxSeries, signal }: SpendMetricsOptions,
  gauge: Gauge | undefined,
  { query, by, window }: { query: SpendQuery; by: Dimension; window: string },
): Promise<void> {
  try {
    const report = await reports.read({ ...query, groupBy: [by] }, { signal });
    for (const [id, { name, spend }] of capGroups(report, by, maxSeries)) {
      gauge?.set(usdToNumber(spend), window, id, ...(by === 'model' ? [] : [name]));
    }
  } catch (error) {
    if (error instanceof HttpError && error.code === 'unsupported_by_source') return;
    throw error;
  }
}

function addBudgets(metrics: Metrics, states: BudgetState[]) {
  const gauge = (what: string, help: string) =>
    metrics.gauge(`llm_budget_${what}_usd`, help, ['budget', 'scope', 'period']);
  const limit = gauge('limit', 'What a budget allows in its period, in US dollars.');
  const spent = gauge('spend', 'What was spent of a budget in its current period, in US dollars.');
  const forecast = gauge('forecast', 'What the period of a budget will cost at the rate so far, in US dollars.');
  for (const { budget, ...state } of states) {
    const labels = [budget.name, budget.scope, budget.period];
    limit.set(usdToNumber(budget.limit), ...labels);
    if (state.spend !== null) spent.set(usdToNumber(state.spend), ...labels);
    if (state.forecast !== null) forecast.set(usdToNumber(state.forecast), ...labels);
  }
}

/** What `GET /metrics` shows: ever, this month and today (UTC), the month and today by model, team and user, budgets. */
export async function renderMetrics(
  options: SpendMetricsOptions & { now: Date; states: BudgetState[] },
): Promise<string> {
  const { reports, signal, now, states } = options;
  const metrics = createMetrics({ maxSeries: 50_000 });
  const gauges = createSpendGauges(metrics, usual);
  const today = toDay(now);
  const windows = {
    month: toQuery({ startDate: firstOfMonth(today), endDate: today }),
    today: toQuery({ startDate: today, endDate: today }),
  };
  const totals = await reports.totals({ signal });
  gauges.total.set(usdToNumber(totals.global), 'total');
  gauges.total.set(usdToNumber(totals.currentMonth), 'month');
  gauges.total.set(usdToNumber(totals.today), 'today');
  for (const [window, query] of Object.entries(windows)) {
    const report = await reports.read(query, { signal });
    gauges.complete.set(report.complete ? 1 : 0, window);
    for (const by of usual) await addGroups(options, gauges.by.get(by), { query, by, window });
  }
  addBudgets(metrics, states);
  return metrics.render();
}

/** `format=prometheus` with a window or filters of its own: the label `window` is the two days. */
export async function renderWindow(query: SpendQuery, options: SpendMetricsOptions): Promise<string> {
  const dimensions = query.groupBy.length > 0 ? query.groupBy : usual;
  const metrics = createMetrics({ maxSeries: 50_000 });
  const gauges = createSpendGauges(metrics, dimensions);
  const report = await options.reports.read({ ...query, groupBy: [] }, options);
  const window = `${query.startDate}/${query.endDate}`;
  gauges.total.set(usdToNumber(report.spend), window);
  gauges.complete.set(report.complete ? 1 : 0, window);
  for (const by of dimensions) await addGroups(options, gauges.by.get(by), { query, by, window });
  return metrics.render();
}
