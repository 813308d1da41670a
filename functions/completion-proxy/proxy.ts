import { createAuthenticate } from '#shared/auth/authenticate.ts';
import { defineFunction } from '#shared/http/define.ts';
import type { Handler } from '#shared/http/function.ts';
import { chooseBackend } from './backend.ts';
import type { Settings } from './config.ts';
import { toErrorBody } from './dialect.ts';
import { createForward } from './forward.ts';
import { createGeneratorChoice } from './generator.ts';
import { createProxyHandler, withJournal } from './handler.ts';
import { createJournal } from './journal.ts';

/** The whole function from its settings; `close` lets the backends' connections go. */
export function createProxy(settings: Settings): Handler {
  const forward = createForward({
    connectMs: settings.BACKEND_CONNECT_TIMEOUT_MS,
    firstByteMs: settings.BACKEND_FIRST_BYTE_TIMEOUT_MS,
    idleMs: settings.BACKEND_IDLE_TIMEOUT_MS,
  });
  const parts = {
    chooseBackend: () => chooseBackend(settings),
    chooseGenerator: createGeneratorChoice(settings),
    forward,
    journal: createJournal({ logsLines: settings.LOGS_LINES, historyLines: settings.HISTORY_LINES }),
    completionFallback: settings.COMPLETION_FALLBACK,
  };
  const authenticate = createAuthenticate(settings, 'completion-proxy');
  const handler = defineFunction({ authenticate, errorBody: toErrorBody }, createProxyHandler(parts));
  return Object.assign(withJournal(handler, parts), { close: forward.close });
}
