import { sendJson } from '../server.ts';
import { parseCount, type Refusal, sendRefusals } from './answers.ts';
import type { DirectoryKey } from './directory.ts';
import { compare, hashKey, type SpendLogRow } from './rows.ts';
import type { View } from './view.ts';

/** What the tables of today say of a key; a deleted one has no name any more. */
type FindKey = (token: string) => DirectoryKey | undefined;

const createMetrics = () => ({
  spend: 0,
  flat_cost: 0,
  prompt_tokens: 0,
  completion_tokens: 0,
  cache_read_input_tokens: 0,
  cache_creation_input_tokens: 0,
  total_tokens: 0,
  successful_requests: 0,
  failed_requests: 0,
  api_requests: 0,
});
type Metrics = ReturnType<typeof createMetrics>;

function add(metrics: Metrics, row: SpendLogRow) {
  metrics.spend += row.spend;
  metrics.prompt_tokens += row.prompt_tokens;
  metrics.completion_tokens += row.completion_tokens;
  metrics.total_tokens += row.total_tokens;
  metrics.successful_requests += row.status === 'failure' ? 0 : 1;
  metrics.failed_requests += row.status === 'failure' ? 1 : 0;
  metrics.api_requests += 1;
}

interface Share {
  metrics: Metrics;
  metadata: Record<string, unknown>;
  api_key_breakdown?: Record<string, Share>;
}

function addTo(shares: Record<string, Share>, name: string, row: SpendLogRow, findKey?: FindKey): Share {
  if (shares[name] === undefined) {
    const { key_alias = null, team_id = null } = findKey?.(row.api_key) ?? {};
    shares[name] = {
      metrics: createMetrics(),
      metadata: findKey === undefined ? {} : { key_alias, team_id },
      ...(findKey === undefined ? { api_key_breakdown: {} } : {}),
    };
  }
  add(shares[name].metrics, row);
  return shares[name];
}

function toDays(rows: SpendLogRow[], findKey: FindKey) {
  const byDay = Map.groupBy(rows, (row) => row.startTime.slice(0, 10));
  return [...byDay]
    .sort(([left], [right]) => compare(right, left))
    .map(([date, dayRows]) => {
      const metrics = createMetrics();
      const shares = { models: {}, model_groups: {}, providers: {}, api_keys: {} } as Record<
        string,
        Record<string, Share>
      >;
      for (const row of dayRows) {
        add(metrics, row);
        addTo(shares.api_keys!, row.api_key, row, findKey);
        for (const [kind, name] of [
          ['models', row.model],
          ['model_groups', row.model_group],
          ['providers', row.custom_llm_provider],
        ] as const) {
          addTo(addTo(shares[kind]!, name, row).api_key_breakdown!, row.api_key, row, findKey);
        }
      }
      return { date, metrics, breakdown: { mcp_servers: {}, ...shares, endpoints: {}, entities: {} } };
    });
}

/**
 * `GET /user/daily/activity` and `/aggregated`: both dates inclusive. In the paged form a row is one day, key, model and
 * provider, and the totals are those of the page alone, as they are in LiteLLM.
 */
export function answerDailyActivity({ call, daily, scope, directory }: View) {
  const { query, res, path } = call;
  const refusals: Refusal[] = [];
  const page = parseCount(query, 'page', { fallback: 1 }, refusals);
  const pageSize = parseCount(query, 'page_size', { fallback: 50, max: 1_000 }, refusals);
  if (refusals.length > 0) return sendRefusals(res, refusals);
  const [start, end] = [query.get('start_date'), query.get('end_date')];
  if (!start || !end) return sendJson(res, 400, { detail: { error: 'Please provide start_date and end_date' } });

  const [key, model] = [query.get('api_key'), query.get('model')];
  const user = query.get('user_id') ?? scope.userId;
  if (scope.userId !== null && user !== scope.userId) {
    return sendJson(res, 403, { detail: { error: 'Only proxy admins can view the spend of other users' } });
  }
  const found = daily().filter((row) => {
    const day = row.startTime.slice(0, 10);
    return (
      // Compared as text, as the table's `date` column is.
      day >= start &&
      day <= end &&
      (key === null || row.api_key === (key.startsWith('sk-') ? hashKey(key) : key)) &&
      (model === null || row.model === model) &&
      (user === null || row.user === user)
    );
  });
  const groups = [
    ...Map.groupBy(
      found.toSorted((left, right) => compare(right.startTime, left.startTime)),
      (row) => [row.startTime.slice(0, 10), row.api_key, row.model, row.custom_llm_provider].join(' '),
    ).values(),
  ];
  const isWhole = path.endsWith('/aggregated');
  const shown = isWhole ? found : groups.slice((page - 1) * pageSize, page * pageSize).flat();
  const totalPages = isWhole ? 1 : Math.ceil(groups.length / pageSize);
  const totals = createMetrics();
  for (const row of shown) add(totals, row);
  sendJson(res, 200, {
    results: toDays(shown, (token) => directory.keys.find((item) => item.token === token)),
    metadata: {
      total_spend: totals.spend,
      total_prompt_tokens: totals.prompt_tokens,
      total_completion_tokens: totals.completion_tokens,
      total_tokens: totals.total_tokens,
      total_api_requests: totals.api_requests,
      total_successful_requests: totals.successful_requests,
      total_failed_requests: totals.failed_requests,
      total_cache_read_input_tokens: 0,
      total_cache_creation_input_tokens: 0,
      page: isWhole ? 1 : page,
      total_pages: totalPages,
      has_more: !isWhole && page < totalPages,
    },
  });
}
