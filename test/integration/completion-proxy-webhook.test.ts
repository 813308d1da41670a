import { afterAll, beforeAll, expect, test } from 'vitest';
import { signBody } from '#shared/auth/keys.ts';
import { usageBatch } from '#shared/usage.ts';
import { type LagoSandbox, startLagoSandbox } from '../../sandbox/lago.ts';
import { until } from '../support/bundle-process.ts';
import { closeAfterEach, startBackend, startProxy } from '../support/proxy-road.ts';
import { startDatabase, startPush } from '../support/push.ts';
import { answerJson } from '../support/scripted-backend.ts';

closeAfterEach();

let database: Awaited<ReturnType<typeof startDatabase>>;
let lago: LagoSandbox;
beforeAll(async () => {
  database = await startDatabase();
  lago = await startLagoSandbox();
}, 60_000);
afterAll(() => Promise.all([database.close(), lago.close()]));

const key = 'a-webhook-secret-of-some-length';
const usage = { prompt_tokens: 2, completion_tokens: 3 };
const fine = answerJson(200, { model: 'm', choices: [{ finish_reason: 'stop' }], usage });

test('what passed the gateway is billed in Lago by lago-usage-push: signed, once a call, and nothing that LiteLLM bills', async () => {
  const push = startPush({
    litellmUrl: 'http://127.0.0.1:9',
    lagoUrl: lago.url,
    now: Date.now,
    store: database.open('webhook', Date.now),
    env: { BILL_FROM: '2026-11-01' },
  });
  let isAnswerLost = true;
  const receiver = await startBackend(async (res, { headers, body }) => {
    if (headers['x-hub-signature-256'] !== signBody(body, key) || headers['x-api-key'] !== 'k') {
      res.writeHead(401).end();
      return;
    }
    usageBatch.parse(JSON.parse(body.toString()));
    const answer = await push.call({ method: 'POST', url: '/usage', body: body.toString() });
    expect(answer.status).toBe(200);
    // The records are taken, and the gateway does not learn of it: it sends them again.
    if (isAnswerLost) res.destroy();
    else res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(answer.body));
    isAnswerLost = false;
  });
  const backend = await startBackend(
    fine,
    fine,
    answerJson(200, { model: 'm', usage }, { 'x-litellm-call-id': 'theirs' }),
    answerJson(500, { error: 'no' }),
    fine,
  );
  const proxy = await startProxy({
    BACKEND_URL: backend.url,
    BACKEND_KIND: 'openai',
    RETRIES: '1',
    PRICES: '{"m": {"input_cost_per_token": 0.001, "output_cost_per_token": 0.01}}',
    USAGE_WEBHOOK_URL: `${receiver.url}/function/lago-usage-push/usage`,
    USAGE_WEBHOOK_SECRET: key,
    USAGE_WEBHOOK_KEY: 'k',
  });
  // Two calls with one request id, one that LiteLLM bills, one that succeeds with its second attempt.
  for (let call = 0; call < 4; call += 1) {
    const answer = await fetch(`${proxy.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'X-Request-ID': 'the-same' },
      body: '{"model":"m","user":"acme"}',
    });
    expect(answer.status).toBe(200);
    await answer.text();
  }
  await until('three calls are billed', () => (lago.events.length >= 3 ? true : undefined), 30_000);
  await until('the batch was sent twice', () => (receiver.calls.length >= 2 ? true : undefined), 30_000);
  await push.close();
  expect(receiver.calls[0]!.url).toBe('/function/lago-usage-push/usage');
  expect(lago.events).toHaveLength(3);
  expect(lago.events.map(({ properties }) => properties.cost)).toEqual(['0.032', '0.032', '0.032']);
  expect(new Set(lago.events.map(({ transaction_id: id }) => id)).size).toBe(3);
});
