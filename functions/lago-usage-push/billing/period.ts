const dayMs = 24 * 60 * 60 * 1000;

export const billingPeriods = ['month', 'week', 'none'] as const;
export type BillingPeriod = (typeof billingPeriods)[number];

/** Lago's billing job runs at ten past each hour; the open source edition never bills what comes after it. */
const closesAfterMs = 10 * 60 * 1000;
/** What we send must have arrived: an answer may take its time. */
const marginMs = 30 * 1000;

/** The first moment of the period, in UTC as Lago's open source edition cuts them; weeks begin on Monday. */
export function startOfPeriod(at: number, period: Exclude<BillingPeriod, 'none'>): number {
  const date = new Date(at);
  if (period === 'month') return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1);
  const day = Math.floor(at / dayMs);
  // 1970-01-01 was a Thursday.
  return (day - ((day + 3) % 7)) * dayMs;
}

/** The first moment after the period. */
export function endOfPeriod(at: number, period: Exclude<BillingPeriod, 'none'>): number {
  const start = startOfPeriod(at, period);
  if (period === 'week') return start + 7 * dayMs;
  const date = new Date(start);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1);
}

/** True when usage of that time, sent now, may find its period's invoice finalized. */
export function isClosed(at: number, now: number, period: BillingPeriod): boolean {
  return period !== 'none' && now >= endOfPeriod(at, period) + closesAfterMs - marginMs;
}
