import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Authenticate } from '#shared/auth/authenticate.ts';
import { defineFunction } from '#shared/http/define.ts';
import { openStore } from '#shared/store/open.ts';
import { parseBudgets } from '../../functions/llm-global-spend/budgets/budget.ts';
import { createBudgets } from '../../functions/llm-global-spend/budgets/check.ts';
import { createBudgetRoutes } from '../../functions/llm-global-spend/budgets/routes.ts';
import { createLlmGlobalSpend } from '../../functions/llm-global-spend/handler.ts';
import { createPageRenderer, withPages } from '../../functions/llm-global-spend/page/routes.ts';
import { createStatementRoutes } from '../../functions/llm-global-spend/statement/routes.ts';
import { createFactReports, type SpendFact } from './spend-reports.ts';

export const pageNow = new Date('2026-11-21T15:20:00Z');

const models: [name: string, provider: string, price: number][] = [
  ['claude-sonnet-4-5', 'anthropic', 9],
  ['gpt-5', 'openai', 6],
  ['gpt-5-mini', 'openai', 2.1],
  ['gemini-2.5-pro', 'vertex_ai', 1.7],
  ['mistral-large', 'mistral', 0.8],
  ['qwen3-coder-480b-a35b-instruct-fp8', 'vast', 0.7],
  ['text-embedding-3-large', 'openai', 0.2],
  ['llama-4-maverick', 'groq', 0.12],
  ['whisper-1', 'openai', 0.05],
  ['gpt-5-nano', 'openai', 0.02],
];
const people = [
  'ada',
  'grace',
  'linus',
  'margaret',
  'ken',
  'barbara',
  'dennis',
  'radia',
  'edsger',
  'donald',
  'tim',
  'hedy',
];
const teams = ['t-research', 't-support', 't-product', ''];

/** The same numbers for each run: a generator by name, of little quality and enough for a picture. */
function createRandom(seed: number) {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296;
    return state / 4_294_967_296;
  };
}

/** About fourteen months of an organisation's days: quiet weekends, growth, one day that went wrong. */
export function createFacts(): SpendFact[] {
  const random = createRandom(7);
  const facts: SpendFact[] = [];
  const first = Date.UTC(2025, 9, 1);
  for (let day = first, index = 0; day <= pageNow.getTime(); day += 86_400_000, index++) {
    const date = new Date(day);
    const isWeekend = date.getUTCDay() % 6 === 0;
    const growth = 0.35 + index / 500;
    const text = date.toISOString().slice(0, 10);
    const wrong = text === '2026-11-12' ? 3 : 1;
    for (const [model, provider, price] of models) {
      for (let request = 0; request < 3; request++) {
        const person = Math.floor(random() ** 2 * people.length);
        const usd = price * growth * (isWeekend ? 0.25 : 1) * wrong * (0.4 + random());
        facts.push({
          day: text,
          usd: usd.toFixed(6),
          model,
          provider,
          user: people[person] as string,
          team: teams[person % teams.length] as string,
          key: `${'0123456789abcdef'.repeat(4).slice(person)}${'f'.repeat(person)}`,
          requests: Math.ceil(usd * 120),
          input: Math.ceil(usd * 90_000),
          output: Math.ceil(usd * 11_000),
        });
      }
    }
  }
  return facts;
}

export const names: Record<string, string> = {
  't-research': 'Research',
  't-support': 'Customer support',
  't-product': 'Product',
  ...Object.fromEntries(people.map((name) => [name, `${name}@example.com`])),
  ...Object.fromEntries(
    ['notebooks', 'nightly-batch', 'ide', 'support-bot'].map((name, at) => [
      `${'0123456789abcdef'.repeat(4).slice(at)}${'f'.repeat(at)}`,
      name,
    ]),
  ),
};

export const pageBudgets = [
  { name: 'Everything', scope: 'proxy', period: 'month', limit_usd: 1500 },
  { name: 'Research, weekly', scope: 'team', id: 't-research', period: 'week', limit_usd: 160 },
  { name: 'Support bot', scope: 'key', id: 'support-bot', period: 'day', limit_usd: 40 },
  { name: 'Product', scope: 'team', id: 'Product', period: 'month', limit_usd: 255 },
];

/** The function over facts instead of a LiteLLM, without a key. */
export function createPages({
  budgets: list = pageBudgets as unknown[],
  facts = createFacts(),
  authenticate = (async () => ({ name: 'test', method: 'none' })) as Authenticate,
} = {}) {
  const now = () => pageNow;
  const reports = createFactReports(facts, now);
  Object.assign(reports.names, names);
  const directory = mkdtempSync(join(tmpdir(), 'spend-pages-'));
  const store = openStore({ name: 'pages', directory, now: () => pageNow.getTime() });
  const parsed = parseBudgets(JSON.stringify(list));
  if ('problems' in parsed) throw new Error(parsed.problems.join());
  const budgets = createBudgets({ budgets: parsed.budgets, reports, store, post: undefined, now });
  const { routes } = createBudgetRoutes(budgets, new AbortController().signal);
  const handler = createLlmGlobalSpend({
    reports,
    now,
    deadlineMs: 10_000,
    routes: { ...routes, ...createStatementRoutes({ reports, store, now }).routes },
    renderers: { html: createPageRenderer({ reports, budgets, now, deadlineMs: 10_000 }) },
  });
  const wrapped = defineFunction({ authenticate }, withPages(handler));
  return {
    reports,
    handler: Object.assign(wrapped, {
      async close() {
        await store.close();
        rmSync(directory, { recursive: true });
      },
    }),
  };
}
