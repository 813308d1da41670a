import type { ActivityDay, ActivityPage, LitellmClient, Metrics } from '#shared/clients/litellm.ts';
import { addAmounts, type Cell, type Column, type DayCells, floatNoise, noAmounts } from '../cells/cell.ts';
import type { Amounts } from '../report/report.ts';
import type { Source } from './source.ts';

const toAmounts = ({ spend, requests, inputTokens, outputTokens, totalTokens }: Metrics): Amounts => ({
  spend,
  requests,
  tokens: { input: inputTokens, output: outputTokens, total: totalTokens },
});

type Sums = Map<string, Cell>;

function addTo(sums: Sums, values: string[], metrics: Metrics) {
  const key = values.join('\0');
  let sum = sums.get(key);
  if (sum === undefined) {
    sum = { values, ...noAmounts() };
    sums.set(key, sum);
  }
  addAmounts(sum, toAmounts(metrics));
}

/** What a breakdown does not explain is shown as "none", so that every view sums to the day. */
function toCells(sums: Sums, width: number, total: Amounts): Cell[] {
  const cells = [...sums.values()];
  const known = noAmounts();
  for (const cell of cells) addAmounts(known, cell);
  const rest = total.spend - known.spend;
  if (rest <= floatNoise && rest >= -floatNoise) return cells;
  const { requests, tokens } = known;
  const cell: Cell = {
    values: Array.from({ length: width }, () => ''),
    spend: rest,
    requests: Math.max(0, (total.requests ?? 0) - (requests ?? 0)),
    tokens: {
      input: Math.max(0, (total.tokens?.input ?? 0) - (tokens?.input ?? 0)),
      output: Math.max(0, (total.tokens?.output ?? 0) - (tokens?.output ?? 0)),
      total: Math.max(0, (total.tokens?.total ?? 0) - (tokens?.total ?? 0)),
    },
  };
  return [...cells, cell];
}

/** Joins days that go on from page to page. */
function createDays() {
  const days = new Map<string, { total: Amounts; keys: Sums; models: Sums; providers: Sums }>();
  return {
    add({ day, total, keys, models, providers }: ActivityDay) {
      const found = days.get(day) ?? { total: noAmounts(), keys: new Map(), models: new Map(), providers: new Map() };
      days.set(day, found);
      addAmounts(found.total, toAmounts(total));
      for (const [key, metrics] of keys) addTo(found.keys, [key], metrics);
      for (const [model, byKey] of models)
        for (const [key, metrics] of byKey) addTo(found.models, [model, key], metrics);
      for (const [provider, byKey] of providers) {
        for (const [key, metrics] of byKey) addTo(found.providers, [provider, key], metrics);
      }
    },
    views(): DayCells[] {
      return [...days].flatMap(([day, { total, keys, models, providers }]) => [
        { day, columns: [] as Column[], cells: [{ values: [], ...total }] },
        { day, columns: ['key'] as const, cells: toCells(keys, 1, total) },
        { day, columns: ['model', 'key'] as const, cells: toCells(models, 2, total) },
        { day, columns: ['provider', 'key'] as const, cells: toCells(providers, 2, total) },
      ]);
    },
  };
}

type Litellm = Pick<LitellmClient, 'aggregatedActivity' | 'activityPage'>;

export interface ActivityOptions {
  litellm: Litellm;
  /** In one answer, or by pages. */
  isAggregated: boolean;
  onAliases: (aliases: Map<string, string>) => void;
}

/** The daily tables: by key with model or provider; money, requests and tokens. They begin with the proxy's upgrade to 1.65. */
export function createActivitySource({ litellm, isAggregated, onAliases }: ActivityOptions): Source {
  return {
    name: isAggregated ? 'daily_activity_aggregated' : 'daily_activity',
    views: [[], ['key'], ['model', 'key'], ['provider', 'key']],
    hasMoments: false,
    maxDays: isAggregated ? 366 : 31,
    concurrency: isAggregated ? 2 : 4,
    async read(window, { signal }) {
      const days = createDays();
      const take = (page: ActivityPage) => {
        onAliases(page.keyAliases);
        for (const day of page.days) days.add(day);
        return page.hasMore;
      };
      if (isAggregated) take(await litellm.aggregatedActivity({ ...window, signal }));
      else for (let page = 1; take(await litellm.activityPage({ ...window, page, signal })); page++);
      return days.views().filter(({ day }) => day >= window.start && day < window.end);
    },
  };
}
