import { afterEach, beforeEach, expect, test } from 'vitest';
import { settings } from '../../functions/spot-start-service/config.ts';
import { createClient, createFunction } from '../../functions/spot-start-service/wiring.ts';
import { type PortainerSandbox, startPortainerSandbox } from '../../sandbox/portainer.ts';
import { loadSettings } from '../../shared/config/settings.ts';
import type { Store } from '../../shared/store/store.ts';
import { bodyOf, makeCall } from '../support/call.ts';

let sandbox: PortainerSandbox;
beforeEach(async () => {
  sandbox = await startPortainerSandbox({ profile: 'new' });
});
afterEach(() => sandbox.close());

async function examine(env: Record<string, string> = {}, store?: Store) {
  const config = loadSettings(settings, {
    AUTH: 'none',
    SECRET_MOUNT_PATH: '/nonexistent',
    PORTAINER_API_URL: sandbox.url,
    PORTAINER_API_KEY: sandbox.apiKey,
    ...env,
  });
  const handler = createFunction(config, { portainer: createClient(config), store });
  const { event, context } = makeCall({ url: '/_doctor' });
  const { durable, upstreams } = bodyOf(await handler(event, context)) as { durable: unknown; upstreams: unknown[] };
  return { durable, portainer: upstreams[0] };
}

test('tells Portainer’s release, and that its key is taken', async () => {
  expect(await examine()).toEqual({
    durable: null,
    portainer: expect.objectContaining({ name: 'Portainer', ok: true, version: '2.45.0' }),
  });
});

test('names the settings where the key is refused, which the open version does not show', async () => {
  expect((await examine({ PORTAINER_API_KEY: 'ptr_other' })).portainer).toEqual({
    name: 'Portainer',
    settings: expect.stringContaining('portainer-api-key'),
    ok: false,
    failure: expect.stringMatching(/^answered 401: check portainer-api-key/),
  });
});

test('says so where what answers is not Portainer’s API', async () => {
  expect((await examine({ PORTAINER_API_URL: `${sandbox.url}/somewhere` })).portainer).toMatchObject({
    ok: false,
    failure: 'invalid_response: what answered is not its API, check PORTAINER_API_URL',
  });
});

test('tells whether the store outlives the container', async () => {
  expect((await examine({}, { durable: true } as Store)).durable).toBe(true);
});
