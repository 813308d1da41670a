import { createHash } from 'node:crypto';
import type * as z from 'zod';
import type { Authenticate } from '#shared/auth/authenticate.ts';
import { createLitellmClient } from '#shared/clients/litellm.ts';
import { defineFunction } from '#shared/http/define.ts';
import type { Diagnosis } from '#shared/http/doctor.ts';
import type { Handler } from '#shared/http/function.ts';
import { createLogger } from '#shared/log.ts';
import { openStore } from '#shared/store/open.ts';
import { createBudgets } from './budgets/check.ts';
import { createBudgetRoutes } from './budgets/routes.ts';
import { createPostAlert } from './budgets/webhook.ts';
import type { settings as schema } from './config.ts';
import { checkOf } from './diagnosis.ts';
import { createLlmGlobalSpend, type LlmGlobalSpendOptions } from './handler.ts';
import { createMetricsRoutes } from './metrics/routes.ts';
import { createPageRenderer, withPages } from './page/routes.ts';
import { openReports } from './report/open.ts';
import { createStatementRoutes } from './statement/routes.ts';

type Settings = z.infer<typeof schema>;

function openPost(settings: Settings) {
  const url = settings['spend-alert-webhook-url'];
  const secret = settings['spend-alert-secret'];
  if (url.read() === undefined) return undefined;
  return createPostAlert({ url: () => url.read(), secret: () => secret.read(), format: settings.SPEND_ALERT_FORMAT });
}

export interface OpenSpend {
  spend: LlmGlobalSpendOptions;
  diagnosis: Diagnosis;
  /** Ends what runs on a schedule and releases the store. */
  close: () => Promise<void>;
}

/** Builds the function from its settings. */
export function openSpend(settings: Settings): OpenSpend {
  const { LITELLM_API_BASE_URL: baseUrl, LITELLM_TIMEOUT_MS: timeoutMs, LITELLM_EPOCH: epoch } = settings;
  const apiKey = () => settings['litellm-api-key'].read();
  const { LITELLM_UTC_OFFSET: utcOffsetMinutes } = settings;
  const now = () => new Date();
  // Two proxies may share a database, and neither a statement nor an alert of one is the other's.
  const proxy = createHash('sha256').update(baseUrl).digest('hex').slice(0, 12);
  const store = openStore({ name: `llm-global-spend-${proxy}`, url: settings['store-url'].read() });
  const litellm = createLitellmClient({ baseUrl, apiKey, timeoutMs, attempts: 2, utcOffsetMinutes });
  const reports = openReports({
    litellm,
    kv: store.kv,
    // Another proxy or another key sees other days.
    identity: () => createHash('sha256').update(`${baseUrl}\n${apiKey()}`).digest('hex').slice(0, 16),
    epoch,
    utcOffsetMinutes,
    allowFullScan: settings.ALLOW_FULL_SCAN,
    nameOverrides: settings.SPEND_NAMES,
    now,
  });

  const post = openPost(settings);
  const budgets = createBudgets({ budgets: settings.SPEND_BUDGETS, reports, store, post, now });
  if (post !== undefined && budgets.count > 0 && !store.durable) {
    createLogger({ level: settings.LOG_LEVEL }).warn(
      'store-url is not set: a budget alert may come once a replica, and again after a restart',
    );
  }
  const stopping = new AbortController();
  const scheduled = createBudgetRoutes(budgets, stopping.signal);
  const { SPEND_DEADLINE_MS: deadlineMs, SPEND_METRICS_SERIES: maxSeries } = settings;
  const metrics = createMetricsRoutes({ reports, budgets, now, maxSeries, deadlineMs });
  const statements = createStatementRoutes({ reports, store, now });
  return {
    spend: {
      reports,
      now,
      deadlineMs,
      routes: { ...scheduled.routes, ...metrics.routes, ...statements.routes },
      renderers: {
        ...metrics.renderers,
        html: createPageRenderer({ reports, budgets, now, deadlineMs }),
      },
      tick: scheduled.tick,
    },
    diagnosis: { upstreams: [checkOf(litellm, now)], isDurable: store.durable },
    async close() {
      stopping.abort();
      await store.close();
    },
  };
}

/** The whole function. */
export function openFunction(settings: Settings, authenticate: Authenticate): Handler {
  const { spend, diagnosis, close } = openSpend(settings);
  return Object.assign(defineFunction({ authenticate, diagnosis }, withPages(createLlmGlobalSpend(spend))), { close });
}
