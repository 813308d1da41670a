import * as z from 'zod';
import { parseLogLevel } from '../log.ts';
import { flag, list, optionalSecret } from './settings.ts';

const methods = ['api-key', 'hmac', 'none'] as const;

/** Who may call. Spread into a function's schema; shared/auth turns it into a check. */
export const authSettings = {
  AUTH: list()
    .optional()
    .transform((names = ['api-key'], context) => {
      const unknown = names.filter((name) => !(methods as readonly string[]).includes(name));
      if (unknown.length === 0 && names.length > 0) return names as (typeof methods)[number][];
      context.addIssue(`takes a comma list of ${methods.join(', ')}`);
      return z.NEVER;
    }),
  ALLOW_SCHEDULED_TICK: flag(false),
  'function-api-key': optionalSecret(),
  'webhook-secret': optionalSecret(),
};

export const logSettings = {
  LOG_LEVEL: z
    .string()
    .optional()
    .transform((text, context) => {
      const level = parseLogLevel(text ?? 'info');
      if (level !== undefined) return level;
      context.addIssue('must be debug, info, warn or error');
      return z.NEVER;
    }),
};

/**
 * Where state lives (shared/store). A secret, as the URL may carry a password: the file `store-url`, or STORE_URL.
 * Unset: SQLite in the temporary folder, a cache.
 */
export const storeSettings = {
  'store-url': optionalSecret().superRefine((secret, context) => {
    const url = secret?.read();
    if (url === undefined || /^postgres(ql)?:\/\//.test(url)) return;
    context.addIssue({ code: 'custom', message: 'must start with postgres:// or postgresql://' });
  }),
};
