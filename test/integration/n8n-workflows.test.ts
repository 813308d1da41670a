import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Handler } from '#shared/http/function.ts';
import createPush from '../../functions/lago-usage-push/index.ts';
import createSpend from '../../functions/llm-global-spend/index.ts';
import createSpot from '../../functions/spot-start-service/index.ts';
import { startLagoSandbox } from '../../sandbox/lago.ts';
import { startLitellmSandbox } from '../../sandbox/litellm.ts';
import { startPortainerSandbox } from '../../sandbox/portainer.ts';
import { startFront } from '../../tools/gateway/front.ts';
import { createJournal } from '../../tools/gateway/journal.ts';
import { specOf } from '../support/gateway.ts';
import { runWorkflow } from '../support/n8n.ts';
import { serveHandler } from '../support/serve.ts';

const closing: (() => unknown)[] = [];
const chat: unknown[] = [];
let lago: Awaited<ReturnType<typeof startLagoSandbox>>;
let settings: Record<string, string>;
const key = 'n8n-key';

beforeAll(async () => {
  const litellm = await startLitellmSandbox();
  const portainer = await startPortainerSandbox();
  lago = await startLagoSandbox();
  closing.push(litellm.close, portainer.close, lago.close);
  const common = { FUNCTION_API_KEY: `n8n:${key}`, LITELLM_API_BASE_URL: litellm.url, ...litellm.credentials };
  const billing = { LAGO_API_BASE: lago.url, ...lago.credentials, LAGO_API_EVENT_CODE: 'llm', BILL_FROM: '2026-01-01' };
  const handlers: Record<string, Handler> = {
    'llm-global-spend': await createSpend({ ...common }),
    'spot-start-service': await createSpot({ ...common, PORTAINER_API_URL: portainer.url, ...portainer.credentials }),
    'lago-usage-push': await createPush({ ...common, ...billing, TRUST_REQUEST_USER: 'true', PREFLIGHT: 'off' }),
  };
  const served = await Promise.all(
    Object.entries(handlers).map(async ([name, handler]) => {
      const { url, close } = await serveHandler(handler);
      closing.push(close);
      return { spec: specOf(name, { exec_timeout: '60s' }), port: () => Number(new URL(url).port) };
    }),
  );
  const front = await startFront({ functions: () => served, port: 0, journal: createJournal(() => undefined) });
  const room = createServer(async (req, res) => {
    let body = '';
    for await (const chunk of req) body += chunk;
    chat.push(JSON.parse(body));
    res.end('ok');
  });
  await new Promise<void>((resolve) => room.listen(0, '127.0.0.1', resolve));
  closing.push(front.close, () => room.close());
  settings = {
    gateway: front.url,
    chat_webhook: `http://127.0.0.1:${(room.address() as AddressInfo).port}/hook`,
  };
}, 60_000);
afterAll(async () => {
  for (const close of closing.reverse()) await close();
});

describe('the n8n workflow', () => {
  it('spend-to-chat tells a chat the spend and the dearest models', async () => {
    const { sent } = await runWorkflow('spend-to-chat.json', { trigger: {}, settings, key });
    expect(sent.map(({ node, status }) => [node, status])).toEqual([
      ['Spend', 200],
      ['Spend by model', 200],
      ['Chat', 200],
    ]);
    const [{ text }] = chat as [{ text: string }];
    const [summary, ...models] = text.split('\n');
    expect(summary).toMatch(/^LLM spend: \$\d+\.\d\d today, \$\d+\.\d\d this month$/);
    expect(models).toHaveLength(3);
    for (const line of models) expect(line).toMatch(/^\S+: \$\d+\.\d\d$/);
  });

  it('wake-service starts a service and answers its state', async () => {
    const { sent, response } = await runWorkflow('wake-service.json', {
      trigger: { body: { service: 'nextcloud' } },
      settings,
      key,
    });
    expect(sent).toMatchObject([{ status: 200, body: { service: 'nextcloud', wait: 45 } }]);
    expect(response).toMatchObject({ service: 'nextcloud', status: 'healthy' });
  });

  it('push-usage bills a call once, also when it is pushed again', async () => {
    const completion = { id: 'chatcmpl-77', model: 'gpt-4o', usage: { prompt_tokens: 11, completion_tokens: 7 } };
    const body = {
      completion,
      customer: 'acme',
      started_at: new Date(Date.now() - 62_000).toISOString(),
      ended_at: new Date(Date.now() - 60_000).toISOString(),
      cost_usd: '0.0125',
    };
    const run = () => runWorkflow('push-usage.json', { trigger: { body }, settings, key });
    expect((await run()).response).toMatchObject({ accepted: 1, duplicates: 0 });
    expect((await run()).response).toMatchObject({ accepted: 0, duplicates: 1 });
    const billed = lago.events.filter(({ transaction_id }) => transaction_id.includes('chatcmpl-77'));
    expect(billed).toHaveLength(1);
  });
});
