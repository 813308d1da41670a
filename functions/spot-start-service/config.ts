import * as z from 'zod';
import { authSettings, logSettings } from '#shared/config/common.ts';
import { flag, httpUrl, integer, optionalSecret } from '#shared/config/settings.ts';

export const settings = z.object({
  ...authSettings,
  ...logSettings,
  /** In the wild with a trailing slash, and with /api. */
  PORTAINER_API_URL: httpUrl().transform((url) => url.replace(/\/api$/, '')),
  'portainer-api-key': optionalSecret(),
  'portainer-username': optionalSecret(),
  'portainer-password': optionalSecret(),
  PORTAINER_CA_FILE: z.string().optional(),
  PORTAINER_INSECURE: flag(false),
  PORTAINER_TIMEOUT_MS: integer({ fallback: 10_000, min: 100, max: 120_000 }),
  START_TIMEOUT_MS: integer({ fallback: 45_000, min: 100, max: 3_600_000 }),
  /** Visitors have no key: what they may wake is labelled or mapped. */
  SPOT_START_PUBLIC_WAKE: flag(false),
  DEADLINE_MS: integer({ fallback: 55_000, min: 100, max: 3_600_000 }),
});
