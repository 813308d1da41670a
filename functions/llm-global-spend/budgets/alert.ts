import { usdToNumber } from '#shared/money.ts';
import { toBudgetKey } from './budget.ts';
import { type BudgetState, isForecastOver, toPercent } from './state.ts';

/** What is posted, as it was when a threshold was first seen reached. It is kept as JSON until it is delivered. */
export interface Alert {
  /** The same for the same budget, period and threshold: a receiver drops what it knows. */
  id: string;
  event: 'spend.threshold' | 'spend.forecast';
  budget: string;
  scope: string;
  scope_id: string | null;
  label: string;
  period: string;
  start_date: string;
  end_date: string;
  /** The highest threshold that is new; null for a forecast. */
  threshold: number | null;
  /** Every threshold that this alert speaks for. */
  thresholds: number[];
  limit_usd: number;
  spend_usd: number;
  percent: number;
  forecast_usd: number | null;
  /** False when the spend is a lower bound. */
  complete: boolean;
  created_at: string;
  message: string;
}

const dollars = (amount: number) =>
  `$${amount.toLocaleString('en-US', { minimumFractionDigits: 2, maximumFractionDigits: amount < 1 ? 6 : 2 })}`;

/** Where it is remembered that a threshold (or the forecast) of a budget was told in a period. */
export const toMark = ({ budget, period }: BudgetState, what: number | 'forecast') =>
  `${toBudgetKey(budget)}/${period.startDate}/${what}`;

function sentence(state: BudgetState, threshold: number | null): string {
  const { budget, period, label, complete } = state;
  const spend = usdToNumber(state.spend ?? 0n);
  const whom = budget.scope === 'proxy' ? 'the whole proxy' : `${budget.scope.replace('_', ' ')} ${label}`;
  const when = period.kind === 'day' ? period.startDate : `${period.startDate} to ${period.endDate}`;
  const amounts = `${complete ? '' : 'at least '}${dollars(spend)} of ${dollars(usdToNumber(budget.limit))}`;
  const spent = `${whom} spent ${amounts} in the ${period.kind} of ${when}`;
  return threshold === null
    ? `Budget "${budget.name}" will be passed: ${spent}, which makes ${dollars(usdToNumber(state.forecast ?? 0n))} by its end at the rate so far`
    : `Budget "${budget.name}" has reached ${threshold} percent: ${spent}`;
}

function toAlert(state: BudgetState, thresholds: number[], now: Date): Alert {
  const { budget, period, label, spend, forecast, complete } = state;
  const threshold = thresholds.at(-1) ?? null;
  return {
    id: toMark(state, threshold ?? 'forecast'),
    event: threshold === null ? 'spend.forecast' : 'spend.threshold',
    budget: budget.name,
    scope: budget.scope,
    scope_id: budget.scope === 'proxy' ? null : budget.id,
    label,
    period: period.kind,
    start_date: period.startDate,
    end_date: period.endDate,
    threshold,
    thresholds,
    limit_usd: usdToNumber(budget.limit),
    spend_usd: usdToNumber(spend ?? 0n),
    percent: toPercent(spend ?? 0n, budget.limit),
    forecast_usd: forecast === null ? null : usdToNumber(forecast),
    complete,
    created_at: now.toISOString(),
    message: sentence(state, threshold),
  };
}

export interface DueAlert {
  alert: Alert;
  marks: string[];
}

/**
 * What is to be told of a state: one alert for all thresholds that are reached and not told, however many they are, and
 * one for the forecast while the period lasts.
 */
export function dueAlerts(state: BudgetState, isTold: (mark: string) => boolean, now: Date): DueAlert[] {
  const fresh = state.reached.filter((threshold) => !isTold(toMark(state, threshold)));
  const forecastMark = toMark(state, 'forecast');
  const foreseen = state.budget.forecast && now.getTime() < state.period.endMs && isForecastOver(state);
  return [
    ...(fresh.length > 0
      ? [{ alert: toAlert(state, fresh, now), marks: fresh.map((threshold) => toMark(state, threshold)) }]
      : []),
    ...(foreseen && !isTold(forecastMark) ? [{ alert: toAlert(state, [], now), marks: [forecastMark] }] : []),
  ];
}
