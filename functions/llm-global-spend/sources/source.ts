import type { Column, DayCells } from '../cells/cell.ts';
import type { Day } from '../days.ts';

export interface SourceContext {
  signal: AbortSignal;
  /** The zone of the days; the proxy's own where the source has nothing else. */
  timezone: string;
  /** Columns that the query needs, where there are too many for all. */
  needed: readonly Column[];
}

/** One way to read days. */
export interface Source {
  /** Shown as `source` of a report. */
  name: string;
  /** Sets of columns that it tells together; each is a view of a day. */
  views: readonly (readonly Column[])[];
  /** True where it has single requests, and can cut days in any zone. */
  hasMoments: boolean;
  /** The longest window of one call. */
  maxDays: number;
  /** Windows at once. */
  concurrency: number;
  /** What LiteLLM was asked to filter: remembered apart. */
  filter?: { column: Column; value: string };
  /**
   * Days of [start, end); those without spend may be absent. Each view of a day is an entry of its own. Throws
   * UpstreamError, with 404 where this proxy does not have the route.
   */
  read(window: { start: Day; end: Day }, context: SourceContext): Promise<DayCells[]>;
}

/** The first view with these columns that has the fewest others. */
export const findView = (views: Source['views'], needed: readonly Column[]) =>
  views
    .filter((view) => needed.every((column) => view.includes(column)))
    .sort((left, right) => left.length - right.length)[0];
