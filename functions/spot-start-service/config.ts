import * as z from 'zod/mini';
import { authSettings, logSettings, storeSettings } from '#shared/config/common.ts';
import {
  fileText,
  flag,
  integer,
  optionalSecret,
  parseHttpUrl,
  refuse,
  required,
  setting,
  toList,
} from '#shared/config/settings.ts';
import { parseHostMap } from './resolve/map.ts';

const names = () => setting((given) => toList(given).map((item) => item.toLowerCase()));

const shape = {
  ...authSettings,
  ...logSettings,
  ...storeSettings,
  /** In the wild with a trailing slash, and with /api. */
  PORTAINER_API_URL: required((given) => parseHttpUrl(given).replace(/\/api$/, '')),
  'portainer-api-key': optionalSecret(),
  'portainer-username': optionalSecret(),
  'portainer-password': optionalSecret(),
  PORTAINER_CA_FILE: fileText(),
  PORTAINER_INSECURE: flag(false),
  PORTAINER_TIMEOUT_MS: integer({ fallback: 10_000, min: 100, max: 120_000 }),
  ENDPOINT_TIMEOUT_MS: integer({ fallback: 5_000, min: 100, max: 120_000 }),
  START_TIMEOUT_MS: integer({ fallback: 45_000, min: 100, max: 3_600_000 }),
  /** Visitors have no key: what they may wake is labelled or mapped. */
  SPOT_START_PUBLIC_WAKE: flag(false),
  DEADLINE_MS: integer({ fallback: 55_000, min: 100, max: 3_600_000 }),
  INDEX_TTL_MS: integer({ fallback: 60_000, min: 0, max: 86_400_000 }),
  SPOT_START_HOSTS: setting(
    (given = '') => parseHostMap(given) ?? refuse('must be a comma list of host=stack or host=endpoint/stack'),
  ),
  SPOT_START_REQUIRE_LABEL: flag(false),
  SPOT_START_NAME_DOMAINS: names(),
  SPOT_START_ALLOW_STOP: flag(false),
  SPOT_START_PROTECTED: names(),
};

const hasCredential = (config: unknown) => {
  const secret = (name: string) =>
    (config as Record<string, { read(): string | undefined } | undefined>)[name]?.read() !== undefined;
  return secret('portainer-api-key') || (secret('portainer-username') && secret('portainer-password'));
};

export const settings = z.object(shape).check(
  z.refine(hasCredential, {
    path: ['portainer-api-key'],
    message: 'create this secret, or both portainer-username and portainer-password',
    // Named together with every other bad setting, and not only once those are good.
    when: () => true,
  }),
);
