import type { PicoUsd } from '#shared/money.ts';
import type { Day } from '../days.ts';
import type { Amounts } from '../report/report.ts';

export const columns = ['model', 'provider', 'user', 'team', 'key', 'end_user', 'tag'] as const;
export type Column = (typeof columns)[number];

/** What was spent on one combination of values; "" is "none". */
export interface Cell extends Amounts {
  /** One for each column of its day, in their order. */
  values: readonly string[];
}

/** A day as one source tells it: its cells are disjoint and sum to the day. */
export interface DayCells {
  day: Day;
  columns: readonly Column[];
  cells: Cell[];
}

/** Sums of floats in another order differ by less than that: a billionth of a dollar. */
export const floatNoise: PicoUsd = 1_000n;

/** The tags of a request are one value, so that cells stay disjoint. Any text may be a tag. */
export const joinTags = (tags: string[]) => (tags.length === 0 ? '' : JSON.stringify([...new Set(tags)].sort()));
export const splitTags = (value: string): string[] => (value === '' ? [''] : JSON.parse(value));

/** Unknown and known makes unknown: a part is never shown as the whole. */
export function addAmounts(sum: Amounts, more: Amounts): void {
  sum.spend += more.spend;
  sum.requests = sum.requests === null || more.requests === null ? null : sum.requests + more.requests;
  if (sum.tokens === null || more.tokens === null) sum.tokens = null;
  else {
    sum.tokens.input += more.tokens.input;
    sum.tokens.output += more.tokens.output;
    sum.tokens.total += more.tokens.total;
  }
}

export const noAmounts = (): Amounts => ({ spend: 0n, requests: 0, tokens: { input: 0, output: 0, total: 0 } });
