import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import create from '../../functions/spot-start-service/index.ts';
import { type PortainerSandbox, startPortainerSandbox } from '../../sandbox/portainer.ts';
import { bodyOf, makeCall } from '../support/call.ts';

const readme = readFileSync(new URL('../../functions/spot-start-service/README.md', import.meta.url), 'utf8');
const examples = [...readme.matchAll(/^\$ curl .* -d '(.*)'\n(\{.*\})$/gm)].map(([, sent = '', answer = '']) => ({
  sent,
  answer: JSON.parse(answer) as unknown,
  status: /"wait": 0/.test(sent) ? 202 : 200,
}));

let sandbox: PortainerSandbox;
beforeEach(async () => {
  sandbox = await startPortainerSandbox();
});
afterEach(() => sandbox.close());

test('the README shows seven calls', () => {
  expect(examples).toHaveLength(7);
});

test.each(examples)('answers $sent as the README shows it', async ({ sent, answer, status }) => {
  const handler = create({
    AUTH: 'none',
    SECRET_MOUNT_PATH: '/nonexistent',
    PORTAINER_API_URL: sandbox.url,
    PORTAINER_API_KEY: sandbox.apiKey,
    LOG_LEVEL: 'error',
  });
  const { event, context } = makeCall({ method: 'POST', body: sent });
  const response = await handler(event, context);
  expect({ status: response.status, body: bodyOf(response) }).toEqual({ status, body: answer });
  await handler.close?.();
});
