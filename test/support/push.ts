import { PGlite } from '@electric-sql/pglite';
import { loadSettings } from '#shared/config/settings.ts';
import { createLogger } from '#shared/log.ts';
import { createPostgresEngine } from '#shared/store/postgres.ts';
import { createStore, type Store } from '#shared/store/store.ts';
import { settings as schema } from '../../functions/lago-usage-push/config.ts';
import { createHandler } from '../../functions/lago-usage-push/handler.ts';
import { type OpenOptions, openPush } from '../../functions/lago-usage-push/open.ts';
import { openOperations } from '../../functions/lago-usage-push/operations.ts';
import { createRoutes } from '../../functions/lago-usage-push/routes.ts';
import { bodyOf, type CallOptions, makeCall } from './call.ts';

export interface PushWorld {
  litellmUrl: string;
  lagoUrl: string;
  now: () => number;
  store?: Store;
  env?: Record<string, string>;
  /** Cuts every call to the sandboxes, as the end of a process does. */
  dying?: AbortSignal;
}

/** lago-usage-push over sandboxes, with the clock and the store of the test; bills end users by default. */
export function startPush({ litellmUrl, lagoUrl, now, store, env = {}, dying }: PushWorld) {
  const settings = loadSettings(schema, {
    LITELLM_API_BASE_URL: litellmUrl,
    LITELLM_API_KEY: 'sk-sandbox',
    LAGO_API_BASE: lagoUrl,
    LAGO_API_KEY: 'lago-sandbox',
    TRUST_REQUEST_USER: 'true',
    PREFLIGHT: 'off',
    FUNCTION_API_KEY: 'test:key',
    ...env,
  });
  const options: OpenOptions = {
    now,
    sleep: async () => undefined,
    ...(store === undefined ? {} : { store }),
    ...(dying === undefined ? {} : { signal: dying }),
  };
  const push = openPush(settings, options);
  const handler = createHandler(createRoutes({ ...push, operations: openOperations(settings, push.books) }));
  const lines: string[] = [];
  const log = createLogger({ level: 'debug', write: (line) => lines.push(line) });
  return {
    ...push,
    lines,
    log,
    pushAll: (dryRun = false) => push.run({ dryRun, log }),
    /** A call to one of the routes; a refusal comes as its status and code. */
    async call(options: CallOptions): Promise<{ status: number; body: Record<string, unknown> }> {
      const { event, context } = makeCall(options);
      try {
        const answer = await handler(event, { ...context, log, caller: { name: 'test', method: 'api-key' } });
        const isText = String(answer.body).startsWith('#');
        return {
          status: answer.status,
          body: isText ? { text: answer.body } : (bodyOf(answer) as Record<string, unknown>),
        };
      } catch (error) {
        const { status = 500, code, message } = error as { status?: number; code?: string; message: string };
        return { status, body: { code, error: message } };
      }
    },
  };
}

export type TestPush = ReturnType<typeof startPush>;

/** PostgreSQL from npm; its tables outlive every store that is opened on it. */
export async function startDatabase() {
  const database = new PGlite();
  await database.waitReady;
  return {
    open: (name: string, now: () => number): Store =>
      createStore(
        createPostgresEngine(async () => ({
          query: (text, params) => database.query<Record<string, unknown>>(text, params),
          close: async () => undefined,
        })),
        { name, now },
      ),
    close: () => database.close(),
  };
}
