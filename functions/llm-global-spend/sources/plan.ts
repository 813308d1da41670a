import type { Column } from '../cells/cell.ts';
import type { ValueFilters } from '../report/fold.ts';
import type { Capability } from './proxy.ts';
import { findView, type Source } from './source.ts';

/** A source that can answer, and what of LiteLLM it stands on. */
export interface Candidate {
  source: Source;
  /** Undefined where every version has it. */
  capability?: Capability;
  needed: Column[];
}

export interface Sources {
  aggregated: Source;
  activity: Source;
  /** Without a filter, or with the one filter that LiteLLM applies. */
  summary(filter?: { column: 'user' | 'key'; value: string }): Source;
  rows: Source;
  /** Only where it is allowed. */
  scan?: Source;
}

/** A single value that `/spend/logs` can filter by. */
function findFilters(filters: ValueFilters) {
  return (['user', 'key'] as const).flatMap((column) => {
    const values = [...(filters[column] ?? [])];
    return values.length === 1 && values[0] !== '' ? [{ column, value: values[0]! }] : [];
  });
}

/**
 * The sources that can tell these columns, the cheapest first. Where the query's days are not the proxy's, single
 * requests come first, as nothing else can be cut at the right hour.
 */
export function planSources(
  sources: Sources,
  options: { needed: Column[]; filters: ValueFilters; fitsProxyDays: boolean },
): Candidate[] {
  const { needed, filters, fitsProxyDays } = options;
  const whole = (source: Source, capability?: Capability): Candidate => ({
    source,
    needed,
    ...(capability === undefined ? {} : { capability }),
  });
  const filtered = findFilters(filters).map((filter) => ({
    source: sources.summary(filter),
    needed: needed.filter((column) => column !== filter.column),
  }));
  const byDay = [
    whole(sources.aggregated, 'aggregated'),
    whole(sources.activity, 'activity'),
    whole(sources.summary()),
    ...filtered,
  ];
  const byMoment = [whole(sources.rows, 'rows'), ...(sources.scan === undefined ? [] : [whole(sources.scan)])];
  return (fitsProxyDays ? [...byDay, ...byMoment] : [...byMoment, ...byDay]).filter(
    (candidate) => findView(candidate.source.views, candidate.needed) !== undefined,
  );
}
