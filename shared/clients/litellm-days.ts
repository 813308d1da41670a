import type { PicoUsd } from '../money.ts';
import { toInvalid } from './litellm-advice.ts';
import { isRawRow, RowError, toAmount } from './litellm-row.ts';

/** What one UTC day cost, and by whom, as far as a summary tells. */
export interface SpendDay {
  /** YYYY-MM-DD */
  day: string;
  spend: PicoUsd;
  /** By internal user; "" when a request had none. */
  users: Map<string, PicoUsd>;
  models: Map<string, PicoUsd>;
  /** By the sha256 of the key, or a name such as `litellm_proxy_master_key`. */
  keys: Map<string, PicoUsd>;
}

/** Sums of the daily tables. */
export interface Metrics {
  spend: PicoUsd;
  requests: number;
  inputTokens: number;
  outputTokens: number;
  totalTokens: number;
}

/** One day of the daily tables; by key it is known for each model and each provider, too. */
export interface ActivityDay {
  day: string;
  total: Metrics;
  keys: Map<string, Metrics>;
  models: Map<string, Map<string, Metrics>>;
  providers: Map<string, Map<string, Metrics>>;
}

export interface ActivityPage {
  days: ActivityDay[];
  hasMore: boolean;
  totalPages: number;
  /** Names that the proxy knows of keys today. */
  keyAliases: Map<string, string>;
}

type Fields = Record<string, unknown>;
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function guarded<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw error instanceof RowError ? toInvalid(`${what}: ${error.message}`) : error;
  }
}

const toAmounts = (value: unknown) =>
  new Map(isFields(value) ? Object.entries(value).map(([name, amount]) => [toId(name), toAmount(amount, name)]) : []);

/** SQL's null as Python printed it. */
const toId = (name: string) => (name === 'null' || name === 'None' ? '' : name);

/** Every field of a summarized day that is none of these is the hash of a key. */
const known = new Set(['startTime', 'spend', 'users', 'models']);

function toSpendDay(item: unknown): SpendDay {
  if (!isFields(item) || typeof item.startTime !== 'string') throw new RowError('startTime is missing');
  const keys = Object.entries(item).filter(([name, value]) => !known.has(name) && typeof value === 'number');
  return {
    day: item.startTime.slice(0, 10),
    spend: toAmount(item.spend),
    users: toAmounts(item.users),
    models: toAmounts(item.models),
    keys: new Map(keys.map(([name, value]) => [toId(name), toAmount(value, name)])),
  };
}

/** The summary of `/spend/logs` for days of [start, end). Throws UpstreamError. */
export function parseSummary(body: unknown, { start, end }: { start: string; end: string }): SpendDay[] {
  if (!Array.isArray(body)) throw toInvalid('/spend/logs: no list of days');
  const items = body.filter((item) => item !== null);
  if (items.some(isRawRow)) {
    const advice = 'it gave single requests where a summary by day was asked: update LiteLLM';
    throw toInvalid('/spend/logs gave raw rows, which stop at 10,000 and are no total', advice);
  }
  return (
    items
      .map((item) => guarded('a day of /spend/logs', () => toSpendDay(item)))
      // The end day is left out or whole by version, and holds midnight's rows: dropped, windows join without overlap.
      .filter(({ day }) => day >= start && day < end)
  );
}

const toNumber = (value: unknown) => (typeof value === 'number' ? value : 0);

/** Version 1.65 had the metrics bare, without their wrapper. */
function toMetrics(share: unknown): Metrics {
  const metrics = isFields(share) && isFields(share.metrics) ? share.metrics : share;
  if (!isFields(metrics)) throw new RowError('metrics are missing');
  return {
    spend: toAmount(metrics.spend),
    requests: toNumber(metrics.api_requests),
    inputTokens: toNumber(metrics.prompt_tokens),
    outputTokens: toNumber(metrics.completion_tokens),
    totalTokens: toNumber(metrics.total_tokens),
  };
}

const toShares = (value: unknown) => Object.entries(isFields(value) ? value : {});

function toByKey(share: unknown): Map<string, Metrics> {
  const breakdown = isFields(share) ? toShares(share.api_key_breakdown) : [];
  return new Map(breakdown.map(([key, metrics]) => [key, toMetrics(metrics)]));
}

function toActivityDay(item: unknown, aliases: Map<string, string>): ActivityDay {
  if (!isFields(item) || typeof item.date !== 'string') throw new RowError('date is missing');
  const breakdown = isFields(item.breakdown) ? item.breakdown : {};
  const keys = toShares(breakdown.api_keys);
  for (const [key, share] of keys) {
    const { key_alias: alias } = (isFields(share) && isFields(share.metadata) && share.metadata) || ({} as Fields);
    if (typeof alias === 'string' && alias !== '') aliases.set(key, alias);
  }
  return {
    day: item.date.slice(0, 10),
    total: toMetrics(item),
    keys: new Map(keys.map(([key, share]) => [key, toMetrics(share)])),
    models: new Map(toShares(breakdown.models).map(([model, share]) => [model, toByKey(share)])),
    providers: new Map(toShares(breakdown.providers).map(([provider, share]) => [provider, toByKey(share)])),
  };
}

/** An answer of `/user/daily/activity`, paged or aggregated. Its own totals are the page's alone, and not read. */
export function parseActivity(body: unknown): ActivityPage {
  const { results, metadata } = isFields(body) ? body : {};
  if (!Array.isArray(results)) throw toInvalid('/user/daily/activity: results is no list');
  const { has_more: hasMore, total_pages: totalPages } = isFields(metadata) ? metadata : {};
  const keyAliases = new Map<string, string>();
  const days = guarded('a day of /user/daily/activity', () => results.map((item) => toActivityDay(item, keyAliases)));
  return { days, hasMore: hasMore === true, totalPages: toNumber(totalPages), keyAliases };
}
