import { expect, test } from 'vitest';
import { closeAfterEach, startBackend, startProxy } from '../support/proxy-road.ts';
import { answerJson, hangUp, keepSilent } from '../support/scripted-backend.ts';

closeAfterEach();

const usage = { prompt_tokens: 2, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 1 } };
const fine = answerJson(200, { model: 'm', choices: [{ finish_reason: 'stop' }], usage });

test('Prometheus reads calls, errors by cause, places, queue, times, tokens, cost and breakers', async () => {
  const good = await startBackend(fine, answerJson(200, { model: 'no-price', usage }), keepSilent);
  const bad = await startBackend(answerJson(503, {}), hangUp);
  const proxy = await startProxy({
    BACKENDS: [
      { name: 'bad', url: bad.url, kind: 'openai', models: ['m', 'n'], order: 1 },
      { name: 'good', url: good.url, kind: 'openai', order: 2, max_concurrency: 1 },
    ],
    RETRIES: '0',
    BREAKER_FAILURES: '2',
    PRICES: '{"m": {"input_cost_per_token": 0.001, "output_cost_per_token": 0.01}}',
  });
  const ask = (model: string, signal?: AbortSignal) =>
    fetch(`${proxy.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model }),
      ...(signal === undefined ? {} : { signal }),
    });
  const read = async () => (await fetch(`${proxy.url}/metrics`)).text();
  await (await ask('m')).text();
  await (await ask('n')).text();
  const gone = new AbortController();
  const waiting = [1, 2].map(() => ask('other', gone.signal).catch(() => undefined));
  await expect.poll(read).toContain('completion_proxy_queue_depth{backend="good"} 1\n');
  const text = await read();
  gone.abort();
  await Promise.all(waiting);

  const labels = 'gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="m"';
  for (const line of [
    'completion_proxy_requests_total{backend="good",model="m",caller="anonymous",status="200",outcome="ok"} 1',
    'completion_proxy_attempt_failures_total{backend="bad",cause="503"} 1',
    'completion_proxy_attempt_failures_total{backend="bad",cause="network"} 1',
    'completion_proxy_cost_usd_total{backend="good",model="m",caller="anonymous"} 0.032',
    'completion_proxy_unpriced_calls_total{model="no-price"} 1',
    'completion_proxy_in_flight{backend="good"} 1',
    'completion_proxy_in_flight{backend="bad"} 0',
    'completion_proxy_breaker_state{backend="bad"} 2',
    'completion_proxy_breaker_state{backend="good"} 0',
    'completion_proxy_backend_healthy{backend="good"} 1',
    `gen_ai_client_operation_duration_seconds_count{${labels},error_type=""} 1`,
    `gen_ai_client_operation_time_to_first_chunk_seconds_count{${labels}} 1`,
    `gen_ai_client_token_usage_sum{${labels},gen_ai_token_type="input"} 2`,
    `gen_ai_client_token_usage_sum{${labels},gen_ai_token_type="output"} 3`,
    `gen_ai_client_token_usage_sum{${labels},gen_ai_token_type="cached_input"} 1`,
  ]) {
    expect(text).toContain(`${line}\n`);
  }
  expect(text).toMatch(/^# TYPE gen_ai_client_operation_duration_seconds histogram$/m);
});
