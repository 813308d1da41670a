import { HttpError } from '#shared/errors.ts';
import { createMetrics, type Gauge, type Metrics } from '#shared/metrics.ts';
import { type PicoUsd, usdToNumber } from '#shared/money.ts';
import type { Budgets } from '../budgets/check.ts';
import type { BudgetState } from '../budgets/state.ts';
import { firstOfMonth, toDay } from '../days.ts';
import { createReadPart } from '../parts.ts';
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
    read: metrics.gauge(
      'llm_spend_read',
      '0 where LiteLLM could not tell a part in time or at all: its series are absent.',
      ['part', 'window'],
    ),
    by: new Map<Dimension, Gauge>(dimensions.map((by) => [by, gaugeBy(by)])),
  };
}

const usual = ['model', 'team', 'user'] as const;

/** One window by one dimension; nothing where LiteLLM is too old to know it. */
async function readGroups({ reports, maxSeries, signal }: SpendMetricsOptions, query: SpendQuery, by: Dimension) {
  try {
    return capGroups(await reports.read({ ...query, groupBy: [by] }, { signal }), by, maxSeries);
  } catch (error) {
    if (error instanceof HttpError && error.code === 'unsupported_by_source') return undefined;
    throw error;
  }
}

type Groups = Awaited<ReturnType<typeof readGroups>>;

function addGroups(
  gauge: Gauge | undefined,
  { groups, by, window }: { groups: Groups; by: Dimension; window: string },
) {
  for (const [id, { name, spend }] of groups ?? []) {
    gauge?.set(usdToNumber(spend), window, id, ...(by === 'model' ? [] : [name]));
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

export interface AllMetricsOptions extends SpendMetricsOptions {
  budgets: Pick<Budgets, 'states'>;
  now: Date;
  /** What everything but the three totals may take. */
  partsMs: number;
}

/**
 * What `GET /metrics` shows: ever, this month and today (UTC), the month and today by model, team and user, budgets. A part
 * that cannot be read leaves the others alone, and is 0 in `llm_spend_read`. Throws where the three totals cannot be read.
 */
export async function renderMetrics(options: AllMetricsOptions): Promise<string> {
  const { reports, budgets, signal, now, partsMs } = options;
  const metrics = createMetrics({ maxSeries: 50_000 });
  const gauges = createSpendGauges(metrics, usual);
  const today = toDay(now);
  const windows = {
    month: toQuery({ startDate: firstOfMonth(today), endDate: today }),
    today: toQuery({ startDate: today, endDate: today }),
  };
  const readPart = createReadPart(signal, partsMs);
  /** Undefined where there is nothing to show. */
  async function readNoted<Value>(part: string, window: string, read: (signal: AbortSignal) => Promise<Value>) {
    const found = await readPart(read);
    gauges.read.set(typeof found === 'string' ? 0 : 1, part, window);
    return typeof found === 'string' ? undefined : found;
  }

  const readWindow = async ([window, query]: [string, SpendQuery]) => {
    const [report, ...groups] = await Promise.all([
      readNoted('total', window, (parts) => reports.read(query, { signal: parts })),
      ...usual.map((by) => readNoted(by, window, (parts) => readGroups({ ...options, signal: parts }, query, by))),
    ]);
    return { window, report, groups };
  };
  const [totals, states, ...read] = await Promise.all([
    reports.totals({ signal }),
    readNoted('budgets', '', (parts) => budgets.states(parts)),
    ...Object.entries(windows).map(readWindow),
  ]);
  gauges.total.set(usdToNumber(totals.global), 'total');
  gauges.total.set(usdToNumber(totals.currentMonth), 'month');
  gauges.total.set(usdToNumber(totals.today), 'today');
  gauges.complete.set(totals.complete ? 1 : 0, 'total');
  for (const { window, report, groups } of read) {
    if (report !== undefined) gauges.complete.set(report.complete ? 1 : 0, window);
    usual.forEach((by, at) => {
      addGroups(gauges.by.get(by), { groups: groups[at], by, window });
    });
  }
  addBudgets(metrics, states ?? []);
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
  for (const by of dimensions) {
    addGroups(gauges.by.get(by), { groups: await readGroups(options, query, by), by, window });
  }
  return metrics.render();
}
