import type { Authenticate } from '#shared/auth/authenticate.ts';
import { defineFunction } from '#shared/http/define.ts';
import type { Handler } from '#shared/http/function.ts';
import { createLogger } from '#shared/log.ts';
import { toLagoAccess } from './access.ts';
import type { Settings } from './config.ts';
import { diagnose } from './diagnosis.ts';
import { createHandler } from './handler.ts';
import { openPush } from './open.ts';
import { openOperations } from './operations.ts';
import { createRoutes } from './routes.ts';

/** The whole function. */
export function openFunction(settings: Settings, authenticate: Authenticate): Handler {
  const push = openPush(settings);
  push.warn(createLogger({ level: settings.LOG_LEVEL }));
  const handler = createHandler(createRoutes({ ...push, operations: openOperations(settings, push.books) }));
  const { litellm, store } = push.books;
  const needsRows = settings.SOURCES.has('rows');
  const diagnosis = diagnose({ litellm, lago: toLagoAccess(settings), isDurable: store.durable, needsRows });
  const options = { authenticate, diagnosis, maxSignedBodyBytes: settings.MAX_WEBHOOK_BYTES };
  return Object.assign(defineFunction(options, handler), { close: push.close });
}
