import { afterEach, describe, expect, it } from 'vitest';
import { readConfig } from '../../functions/completion-proxy/config.ts';
import { createProxy } from '../../functions/completion-proxy/proxy.ts';
import { answerJson, startScriptedBackend } from '../support/scripted-backend.ts';
import { serveHandler } from '../support/serve.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
const start = async (...acts: Parameters<typeof startScriptedBackend>) => {
  const backend = await startScriptedBackend(...acts);
  closing.push(() => backend.close());
  return backend;
};

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const traceparent = `00-${traceId}-00f067aa0ba902b7-01`;
const fine = answerJson(200, { id: 'c', model: 'm', choices: [], usage: { prompt_tokens: 2, completion_tokens: 3 } });

describe('traces through the gateway', () => {
  it('take our span between caller and backend, tell it in the answer, and reach the collector with its credential', async () => {
    const backend = await start(fine);
    const collector = await start(answerJson(200, {}));
    const config = await readConfig({
      AUTH: 'none',
      BACKEND_URL: backend.url,
      BACKEND_KIND: 'openai',
      OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.url}/otlp`,
      OTEL_EXPORTER_OTLP_HEADERS: 'x-key=collector-key',
    });
    const proxy = await serveHandler(createProxy(config));
    const call = { method: 'POST', body: '{"model":"m"}', headers: { traceparent, tracestate: 'other=1' } };
    const answer = await fetch(`${proxy.url}/v1/chat/completions`, call);
    await answer.text();
    const sent = backend.calls[0]!.headers;
    expect(sent.traceparent).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`));
    expect(sent.traceparent).not.toBe(traceparent);
    expect(sent.tracestate).toBe('other=1');
    expect(answer.headers.get('traceparent')).toBe(sent.traceparent);

    await (await fetch(`${proxy.url}/v1/files`, { headers: { traceparent } })).text();
    expect(backend.calls[1]!.headers.traceparent).toBe(traceparent);
    await (await fetch(`${proxy.url}/v1/chat/completions`, { method: 'POST', body: '{}' })).text();
    expect(backend.calls[2]!.headers.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);

    await proxy.close();
    expect(collector.calls.map(({ method, url }) => `${method} ${url}`)).toEqual(['POST /otlp/v1/traces']);
    expect(collector.calls[0]!.headers['x-key']).toBe('collector-key');
    const { spans } = JSON.parse(String(collector.calls[0]!.body)).resourceSpans[0].scopeSpans[0];
    expect(spans).toHaveLength(2);
    expect(spans[0]).toMatchObject({
      traceId,
      parentSpanId: '00f067aa0ba902b7',
      spanId: String(sent.traceparent).split('-')[2],
      name: 'chat m',
      attributes: expect.arrayContaining([{ key: 'gen_ai.usage.input_tokens', value: { intValue: '2' } }]),
    });
  });
});
