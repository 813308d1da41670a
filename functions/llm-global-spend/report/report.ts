import type { PicoUsd } from '#shared/money.ts';
import type { Day } from '../days.ts';
import type { Dimension, SpendQuery } from './query.ts';

export interface Tokens {
  input: number;
  output: number;
  total: number;
}

/** What was spent on something. Requests and tokens are null where the source does not tell them. */
export interface Amounts {
  spend: PicoUsd;
  requests: number | null;
  tokens: Tokens | null;
}

/** `name` is for people and falls back to the id; the id is "" for "none" (no team, no end user). */
export interface Label {
  id: string;
  name: string;
}

export interface SpendGroup extends Amounts {
  /** One label for each dimension of the report's `groupBy`. */
  by: Partial<Record<Dimension, Label>>;
}

/** Why a number may be other than expected. Codes are stable, messages are sentences without secrets. */
export interface Note {
  code: string;
  message: string;
}

export interface SpendReport extends Amounts {
  /** Both inclusive. `timezone` is UTC where the source only has UTC days, whatever was asked. */
  window: { startDate: Day; endDate: Day; timezone: string };
  groupBy: Dimension[];
  /** Most spend first; their sum is `spend`, but for groups by tag, where a request counts for each of its tags. */
  groups: SpendGroup[];
  /** Which of LiteLLM's routes it came from. */
  source: string;
  /** False where something is known to be missing; `notes` says what. */
  complete: boolean;
  notes: Note[];
}

/** The three numbers of `GET /`. */
export interface Totals {
  global: PicoUsd;
  currentMonth: PicoUsd;
  today: PicoUsd;
  /** As of a report. */
  complete: boolean;
  notes: Note[];
}

/** Where every report comes from: remembered days, and LiteLLM for the others. */
export interface Reports {
  /**
   * Equal calls at once share one sweep. Throws UpstreamError, HttpError 422 `unsupported_by_source`, and with
   * `strict` HttpError 502 `incomplete`.
   */
  read(query: SpendQuery, context: { signal: AbortSignal }): Promise<SpendReport>;
  totals(context: { signal: AbortSignal }): Promise<Totals>;
}

/** A query with everything left out: the days between two dates, ungrouped. */
export function toQuery(wanted: Pick<SpendQuery, 'startDate' | 'endDate'> & Partial<SpendQuery>): SpendQuery {
  return { timezone: 'UTC', filters: {}, groupBy: [], refresh: false, strict: false, ...wanted };
}
