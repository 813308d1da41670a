import { parseLogLevel } from '../log.ts';
import { flag, listOf, optionalSecret, refuse, setting } from './settings.ts';

const methods = ['api-key', 'hmac', 'none'] as const;

/** Who may call. Spread into a function's schema; shared/auth turns it into a check. */
export const authSettings = {
  AUTH: listOf(methods, ['api-key']),
  ALLOW_SCHEDULED_TICK: flag(false),
  'function-api-key': optionalSecret(),
  'webhook-secret': optionalSecret(),
};

export const logSettings = {
  LOG_LEVEL: setting((text = 'info') => parseLogLevel(text) ?? refuse('must be debug, info, warn or error')),
};

/**
 * Where state lives (shared/store). A secret, as the URL may carry a password: the file `store-url`, or STORE_URL.
 * Unset: SQLite in the temporary folder, a cache.
 */
export const storeSettings = {
  'store-url': optionalSecret((url) => {
    if (!/^postgres(ql)?:\/\//.test(url)) refuse('must start with postgres:// or postgresql://');
  }),
};
