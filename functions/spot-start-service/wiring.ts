import { readFileSync } from 'node:fs';
import type * as z from 'zod';
import { createAuthenticate } from '#shared/auth/authenticate.ts';
import { createPortainerClient, type PortainerClient } from '#shared/clients/portainer.ts';
import { ConfigError } from '#shared/errors.ts';
import { type CallContext, defineFunction } from '#shared/http/define.ts';
import type { Handler } from '#shared/http/function.ts';
import { sleep as realSleep } from '#shared/retry.ts';
import { errorBody } from './answer.ts';
import type { settings } from './config.ts';
import { createDiscovery } from './discover.ts';
import { createRouter, createStartRoute } from './handler.ts';
import { createSpotService } from './spot.ts';
import { createStarter } from './start.ts';
import { admitVisitors } from './wake/admit.ts';
import { createWakeRoutes } from './wake/routes.ts';

export type Settings = z.infer<typeof settings>;

function readCa(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    throw new ConfigError(['PORTAINER_CA_FILE: this file cannot be read']);
  }
}

/** The client as the settings have it. Throws ConfigError without a key or a pair of user name and password. */
export function createClient(config: Settings): PortainerClient {
  const read = () => ({
    apiKey: config['portainer-api-key']?.read(),
    username: config['portainer-username']?.read(),
    password: config['portainer-password']?.read(),
  });
  const { apiKey, username, password } = read();
  if (apiKey === undefined && (username === undefined || password === undefined)) {
    throw new ConfigError(['create the secret portainer-api-key, or both portainer-username and portainer-password']);
  }
  const ca = config.PORTAINER_CA_FILE === undefined ? {} : { ca: readCa(config.PORTAINER_CA_FILE) };
  return createPortainerClient({
    baseUrl: config.PORTAINER_API_URL,
    credentials: read,
    timeoutMs: config.PORTAINER_TIMEOUT_MS,
    tls: { ...ca, insecure: config.PORTAINER_INSECURE },
  });
}

/** The whole function around a client; clock and sleep are the real ones unless given. */
export function createFunction(
  config: Settings,
  portainer: PortainerClient,
  time: { now?: () => number; sleep?: (ms: number) => Promise<void> } = {},
): Handler {
  const discovery = createDiscovery(portainer);
  const start = createStarter({
    portainer,
    readFile: discovery.readFile,
    startTimeoutMs: config.START_TIMEOUT_MS,
    deadlineMs: config.DEADLINE_MS,
    sleep: time.sleep ?? realSleep,
    ...(time.now === undefined ? {} : { now: time.now }),
  });
  const authenticate = admitVisitors(createAuthenticate(config, 'spot-start-service'), config.SPOT_START_PUBLIC_WAKE);
  const service = createSpotService({ discovery, start });
  const now = time.now ?? Date.now;
  const scope = ({ log, signal }: CallContext) => ({ log, signal, endsAtMs: now() + config.DEADLINE_MS });
  const routes = [
    { method: 'POST', path: '/', run: createStartRoute({ service, scope }) },
    ...createWakeRoutes({ service, scope, now }),
  ];
  return defineFunction({ authenticate, errorBody }, createRouter(routes));
}
