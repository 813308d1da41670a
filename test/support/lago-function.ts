import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthenticate } from '#shared/auth/authenticate.ts';
import { loadSettings } from '#shared/config/settings.ts';
import { defineFunction } from '#shared/http/define.ts';
import { openStore } from '#shared/store/open.ts';
import { settings as schema } from '../../functions/lago-usage-push/config.ts';
import { createHandler } from '../../functions/lago-usage-push/handler.ts';
import { openPush } from '../../functions/lago-usage-push/open.ts';
import { openOperations } from '../../functions/lago-usage-push/operations.ts';
import { createRoutes } from '../../functions/lago-usage-push/routes.ts';
import { bodyOf, makeCall } from './call.ts';

/** The whole function over sandboxes, answers as a caller gets them, with a store of its own: tests run side by side. */
export function startLagoFunction(world: { lagoUrl: string; litellmUrl?: string; env?: Record<string, string> }) {
  const directory = mkdtempSync(join(tmpdir(), 'lago-function-'));
  const store = openStore({ name: 'lago-usage-push', directory });
  const settings = loadSettings(schema, {
    LITELLM_API_BASE_URL: world.litellmUrl ?? 'http://127.0.0.1:9',
    LITELLM_API_KEY: 'sk-sandbox',
    LAGO_API_BASE: world.lagoUrl,
    LAGO_API_KEY: 'lago-sandbox',
    AUTH: 'none',
    ...world.env,
  });
  const push = openPush(settings, { store });
  const routes = createRoutes({ ...push, operations: openOperations(settings, push.books) });
  const authenticate = createAuthenticate(settings, 'lago-usage-push');
  const handler = defineFunction({ authenticate }, createHandler(routes));
  return {
    async call(method: string, url: string, body?: unknown) {
      const text = typeof body === 'string' ? body : JSON.stringify(body);
      const { event, context } = makeCall({ method, url, ...(body === undefined ? {} : { body: text }) });
      const answer = await handler(event, context);
      return { status: answer.status, body: bodyOf(answer) };
    },
    async close() {
      await push.close();
      rmSync(directory, { recursive: true });
    },
  };
}

export type LagoFunction = ReturnType<typeof startLagoFunction>;
