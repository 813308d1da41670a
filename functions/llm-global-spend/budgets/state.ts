import { divideHalfEven, type PicoUsd, usdToNumber } from '#shared/money.ts';
import type { Note } from '../report/report.ts';
import type { Budget } from './budget.ts';
import type { Period } from './period.ts';

/** How a budget stands in one period. */
export interface BudgetState {
  budget: Budget;
  period: Period;
  /** The name that reports show for its id. */
  label: string;
  /** Null when it could not be read; `notes` says why. */
  spend: PicoUsd | null;
  /** What the whole period will cost at the rate so far; null while less than a tenth of it is over. */
  forecast: PicoUsd | null;
  /** Thresholds that are reached, ascending. */
  reached: number[];
  level: 'ok' | 'warning' | 'over' | 'unknown';
  /** False when the spend is a lower bound. */
  complete: boolean;
  notes: Note[];
}

export interface Reading {
  spend: PicoUsd | null;
  label: string;
  complete: boolean;
  notes: Note[];
}

/** The run rate: what was spent, stretched over the whole period. Early in a period it would say anything. */
export function forecastSpend(spend: PicoUsd, { startMs, endMs }: Period, nowMs: number): PicoUsd | null {
  if (nowMs >= endMs) return spend;
  const elapsedMs = nowMs - startMs;
  if (elapsedMs * 10 < endMs - startMs) return null;
  return divideHalfEven(spend * BigInt(endMs - startMs), BigInt(elapsedMs));
}

export function toState(budget: Budget, period: Period, reading: Reading, nowMs: number): BudgetState {
  const { spend } = reading;
  const { limit, thresholds } = budget;
  if (spend === null) return { budget, period, ...reading, forecast: null, reached: [], level: 'unknown' };
  const reached = thresholds.filter((percent) => spend * 100n >= limit * BigInt(percent));
  const level = spend >= limit ? 'over' : reached.length > 0 ? 'warning' : 'ok';
  return { budget, period, ...reading, forecast: forecastSpend(spend, period, nowMs), reached, level };
}

/** True when the limit will be passed at the rate so far, and is not yet. */
export const isForecastOver = ({ budget, spend, forecast }: BudgetState) =>
  spend !== null && forecast !== null && spend < budget.limit && forecast >= budget.limit;

/** Percent of the limit with one decimal, cut and not rounded: 99.96 is not 100 yet. */
export const toPercent = (spend: PicoUsd, limit: PicoUsd) => Number((spend * 1000n) / limit) / 10;

/** A state in the answer of `GET /budgets`. */
export function toWireState(state: BudgetState) {
  const { budget, period, label, spend, forecast, reached, level, complete, notes } = state;
  return {
    name: budget.name,
    scope: budget.scope,
    id: budget.scope === 'proxy' ? null : budget.id,
    label,
    period: budget.period,
    window: { start_date: period.startDate, end_date: period.endDate, timezone: 'UTC' },
    limit_usd: usdToNumber(budget.limit),
    spend_usd: spend === null ? null : usdToNumber(spend),
    percent: spend === null ? null : toPercent(spend, budget.limit),
    forecast_usd: forecast === null ? null : usdToNumber(forecast),
    forecast_over: isForecastOver(state),
    state: level,
    thresholds: budget.thresholds.map((percent) => ({ percent, reached: reached.includes(percent) })),
    complete,
    notes,
  };
}
