import { createHash } from 'node:crypto';
import { formatUsd } from '../../shared/money.ts';
import { createRandom } from '../server.ts';

/** A row of LiteLLM_SpendLogs under the wire's names. Times are ISO, ms, Z; the routes print them in their own ways. */
export interface SpendLogRow {
  request_id: string;
  call_type: string;
  api_key: string;
  spend: number;
  total_tokens: number;
  prompt_tokens: number;
  completion_tokens: number;
  startTime: string;
  endTime: string;
  completionStartTime: string | null;
  model: string;
  model_id: string;
  model_group: string;
  custom_llm_provider: string;
  api_base: string;
  user: string;
  metadata: Record<string, unknown>;
  cache_hit: string;
  cache_key: string;
  request_tags: string[];
  team_id: string;
  organization_id: string | null;
  end_user: string;
  requester_ip_address: string | null;
  session_id: string;
  status: 'success' | 'failure' | null;
  request_duration_ms: number;
  litellm_call_id: string;
}

/** LiteLLM never stores a key, only the sha256 of its text. */
export const hashKey = (key: string) => createHash('sha256').update(key).digest('hex');

interface Model {
  name: string;
  provider: string;
  apiBase: string;
  /** Picodollars a token: gpt-4o-mini's input costs 0.15 USD a million, which is 150,000. */
  input: number;
  output: number;
}

const models: Model[] = [
  { name: 'gpt-4o', provider: 'openai', apiBase: 'https://api.openai.com', input: 2_500_000, output: 10_000_000 },
  { name: 'gpt-4o-mini', provider: 'openai', apiBase: 'https://api.openai.com', input: 150_000, output: 600_000 },
  {
    name: 'claude-sonnet-4',
    provider: 'anthropic',
    apiBase: 'https://api.anthropic.com',
    input: 3_000_000,
    output: 15_000_000,
  },
  { name: 'mistral-nemo', provider: 'mistral', apiBase: 'https://api.mistral.ai', input: 37_500, output: 150_001 },
  // A model without a price: LiteLLM logs its tokens with spend 0.
  { name: 'ollama/llama2', provider: 'ollama', apiBase: 'http://ollama:11434', input: 0, output: 0 },
];

interface Holder {
  key: string;
  alias: string;
  user: string;
  team: string;
  teamAlias: string;
}

export const holders: Holder[] = [
  { key: 'sk-alice', alias: 'alice-notebook', user: 'alice', team: 'team-research', teamAlias: 'Research' },
  { key: 'sk-bob', alias: 'bob-cli', user: 'bob', team: 'team-research', teamAlias: 'Research' },
  { key: 'sk-chatbot', alias: 'chatbot', user: 'carol', team: 'team-product', teamAlias: 'Product' },
  { key: 'sk-n8n', alias: 'n8n', user: 'default_user_id', team: '', teamAlias: '' },
];

export const endUsers = ['acme', 'globex', 'initech', 'umbrella', ''];
/** By code unit, as a database with the C collation has it; much faster than by language. */
export function compare(left: string | number, right: string | number): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

export const dayMs = 86_400_000;

function hex(random: () => number, length: number): string {
  return Array.from({ length }, () => Math.floor(random() * 16).toString(16)).join('');
}

/** Fills what a test does not care about, so that it can name the few columns that it does. */
export function completeRow(row: Partial<SpendLogRow> & { startTime: string }): SpendLogRow {
  const startTime = new Date(row.startTime).toISOString();
  const requestId = row.request_id ?? `chatcmpl-${hashKey(JSON.stringify(row)).slice(0, 29)}`;
  const tokens = (row.prompt_tokens ?? 0) + (row.completion_tokens ?? 0);
  return {
    call_type: 'acompletion',
    api_key: hashKey('sk-chatbot'),
    spend: 0,
    total_tokens: tokens,
    prompt_tokens: 0,
    completion_tokens: 0,
    completionStartTime: null,
    model: 'gpt-4o-mini',
    model_id: '',
    model_group: row.model ?? 'gpt-4o-mini',
    custom_llm_provider: 'openai',
    api_base: 'https://api.openai.com',
    user: 'carol',
    metadata: {},
    cache_hit: 'False',
    cache_key: 'Cache OFF',
    request_tags: [],
    team_id: '',
    organization_id: null,
    end_user: '',
    requester_ip_address: null,
    session_id: '',
    status: 'success',
    request_duration_ms: 0,
    litellm_call_id: '',
    ...row,
    request_id: requestId,
    startTime,
    endTime: row.endTime === undefined ? startTime : new Date(row.endTime).toISOString(),
  };
}

function createRow(random: () => number, startMs: number): SpendLogRow {
  const pick = <T>(items: T[]): T => items[Math.floor(random() * items.length)]!;
  const model = pick(models);
  const holder = pick(holders);
  const endUser = pick(endUsers);
  const luck = random();
  const failed = luck < 0.04;
  const cached = luck >= 0.04 && luck < 0.08;
  const prompt = 20 + Math.floor(random() ** 3 * 6_000);
  const completion = failed ? 0 : 5 + Math.floor(random() ** 2 * 1_500);
  const durationMs = 300 + Math.floor(random() * 9_000);
  const pico = failed || cached ? 0n : BigInt(prompt * model.input + completion * model.output);
  const callId = `${hex(random, 8)}-${hex(random, 4)}-4${hex(random, 3)}-a${hex(random, 3)}-${hex(random, 12)}`;
  const answerId = `chatcmpl-${hex(random, 29)}`;
  return completeRow({
    request_id: cached ? `${answerId}_cache_hit${(startMs + durationMs) / 1000}` : answerId,
    call_type: random() < 0.9 ? 'acompletion' : 'aresponses',
    api_key: hashKey(holder.key),
    spend: Number(formatUsd(pico)),
    prompt_tokens: prompt,
    completion_tokens: completion,
    startTime: new Date(startMs).toISOString(),
    endTime: new Date(startMs + durationMs).toISOString(),
    completionStartTime: new Date(startMs + Math.floor(durationMs / 3)).toISOString(),
    model: model.name,
    model_id: hashKey(model.name),
    custom_llm_provider: model.provider,
    api_base: model.apiBase,
    user: holder.user,
    metadata: {
      user_api_key: hashKey(holder.key),
      user_api_key_alias: holder.alias,
      user_api_key_team_id: holder.team || null,
      user_api_key_user_id: holder.user,
      user_api_key_team_alias: holder.teamAlias || null,
      spend_logs_metadata: null,
      status: failed ? 'failure' : 'success',
      usage_object: { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion },
    },
    cache_hit: cached ? 'True' : 'False',
    request_tags: random() < 0.3 ? ['prod'] : ['User-Agent: openai-python'],
    team_id: holder.team,
    end_user: endUser,
    session_id: callId,
    status: failed ? 'failure' : 'success',
    request_duration_ms: durationMs,
    litellm_call_id: callId,
  });
}

/**
 * Rows of the days before `until`, which is exclusive and UTC. A day's rows depend on the seed and the day alone, so that
 * tomorrow's start shows the same yesterday. Every eleventh day is without traffic; the first of each month has a row at
 * exactly midnight.
 */
export function createRows(options: { seed: number; until: Date; days: number }): SpendLogRow[] {
  const { seed, until, days } = options;
  const today = Math.floor(until.getTime() / dayMs);
  const rows: SpendLogRow[] = [];
  for (let day = today - days; day <= today; day++) {
    const random = createRandom(Math.imul(seed + 1, 2_654_435_761) ^ day);
    const isFirst = new Date(day * dayMs).getUTCDate() === 1;
    const count = day % 11 === 0 && !isFirst ? 0 : 12 + Math.floor(random() * 20);
    const starts = Array.from({ length: count }, () => day * dayMs + Math.floor(random() * dayMs));
    if (isFirst) starts[0] = day * dayMs;
    for (const startMs of starts.sort((left, right) => left - right)) {
      const row = createRow(random, startMs);
      if (startMs < until.getTime()) rows.push(row);
    }
  }
  return rows;
}
