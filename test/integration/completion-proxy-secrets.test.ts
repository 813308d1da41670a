import { describe, expect, it } from 'vitest';
import { readConfig } from '../../functions/completion-proxy/config.ts';
import { createProxy } from '../../functions/completion-proxy/proxy.ts';
import { closeAfterEach, startBackend } from '../support/proxy-road.ts';
import { answerJson, chatChunk, cut, hangUp, streamEvents } from '../support/scripted-backend.ts';
import { serveHandler } from '../support/serve.ts';

closeAfterEach();

const planted = {
  ourKey: 'planted-own-key-1',
  wrongKey: 'planted-wrong-key-2',
  backendKey: 'planted-backend-key-3',
  header: 'planted-header-4',
  prompt: 'planted-prompt-5',
  cookie: 'planted-cookie-6',
  badgerKey: 'planted-badger-key-7',
  collectorKey: 'planted-collector-key-8',
  webhookKey: 'planted-webhook-key-9',
};

/** Follows an event stream until it is told to leave; `text` is then all that it was shown. */
async function follow(url: string, headers: Record<string, string>, signal: AbortSignal) {
  const answer = await fetch(url, { headers, signal });
  expect(answer.status).toBe(200);
  const read = async () => {
    let text = JSON.stringify([...answer.headers]);
    try {
      for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) text += chunk;
    } catch {
      // We left.
    }
    return text;
  };
  return { text: read() };
}

it('shows a key, a prompt and a header nowhere: no log, answer, metric, trace, notice, record or page', async () => {
  const usage = { prompt_tokens: 2, completion_tokens: 3 };
  const backend = await startBackend(
    answerJson(200, { id: 'c', model: 'm', choices: [{ message: { content: 'fine' } }], usage }),
    streamEvents([chatChunk('fine'), chatChunk('', 'stop'), 'data: [DONE]\n\n']),
    hangUp,
    answerJson(503, { error: { message: 'busy' } }),
    streamEvents([chatChunk('fine')], cut),
  );
  const [badger, collector, webhook] = await Promise.all([
    startBackend(answerJson(201, { id: 'n' })),
    startBackend(answerJson(200, {})),
    startBackend(answerJson(200, { accepted: 1, duplicates: 0 })),
  ]);
  const config = await readConfig({
    FUNCTION_API_KEY: `tests:${planted.ourKey}`,
    CALLERS: '{"tests":{"admin":true,"requests_per_minute":1000}}',
    BACKENDS: JSON.stringify([{ name: 'b', url: backend.url, kind: 'openai', credential: 'planted-backend' }]),
    PLANTED_BACKEND: planted.backendKey,
    RETRIES: '0',
    SSE_PING_S: '0',
    LOG_LEVEL: 'debug',
    COLLECT_STREAM_USAGE: 'true',
    HONEYBADGER_API_KEY: planted.badgerKey,
    HONEYBADGER_ENDPOINT: badger.url,
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_HEADERS: `x-key=${planted.collectorKey}`,
    USAGE_WEBHOOK_URL: `${webhook.url}/usage`,
    USAGE_WEBHOOK_KEY: planted.webhookKey,
  });
  const written: string[] = [];
  const write = process.stderr.write;
  process.stderr.write = ((text: string) => written.push(text) > 0) as never;
  const shown: string[] = [];
  try {
    const proxy = await serveHandler(createProxy(config));
    const headers = { 'X-Api-Key': planted.ourKey, 'X-Planted': planted.header, Cookie: `a=${planted.cookie}` };
    const call = async (path: string, init: RequestInit = {}) => {
      const answer = await fetch(proxy.url + path, { headers, ...init });
      const text = await answer.text().catch(() => '');
      shown.push(path, JSON.stringify([...answer.headers]), text);
      return answer;
    };
    const gone = new AbortController();
    const followed = await Promise.all(
      ['/_proxy/ui/live', '/history?format=sse', '/history?format=ndjson&follow=true', '/logs?format=sse'].map((path) =>
        follow(proxy.url + path, headers, gone.signal),
      ),
    );
    const body = (more: object = {}) => ({
      method: 'POST',
      body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: planted.prompt }], ...more }),
    });
    const statuses: number[] = [];
    for (const more of [{}, { stream: true }, {}, {}, { stream: true }]) {
      statuses.push((await call('/v1/chat/completions', body(more))).status);
    }
    expect(statuses).toEqual([200, 200, 502, 503, 200]);
    backend.acts.splice(0, 1, answerJson(500, { error: 'no' }));
    expect(
      (await call('/completion', { method: 'POST', body: JSON.stringify({ prompt: planted.prompt }) })).status,
    ).toBe(200);
    // The altered prompt is the answer to who asked: the one place where it belongs.
    expect(shown.pop()!.toLowerCase()).toContain(planted.prompt);
    const ambiguous = { method: 'POST', body: `{"model":"a","model":"b","prompt":"${planted.prompt}"}` };
    expect((await call('/v1/chat/completions', ambiguous)).status).toBe(400);
    const wrong = { headers: { Authorization: `Bearer ${planted.wrongKey}` } };
    expect((await call('/v1/chat/completions', { ...body(), ...wrong })).status).toBe(401);
    expect((await call('/_proxy/honeybadger', { method: 'POST' })).status).toBe(200);
    for (const path of [
      '/logs',
      '/logs?format=json',
      '/history',
      '/history?format=json',
      '/history?format=ndjson',
      '/metrics',
      '/_proxy/key',
      '/_proxy/ui',
      '/_proxy/openapi.json',
      '/_proxy/doctor',
      '/v1/models',
    ]) {
      const answer = await call(path);
      expect([path, answer.status]).toEqual([path, path === '/v1/models' ? 500 : 200]);
    }
    await expect.poll(() => webhook.calls.length, { timeout: 10_000 }).toBeGreaterThan(0);
    gone.abort();
    const texts = await Promise.all(followed.map(({ text }) => text));
    expect(texts.filter((text) => /"outcome":"upstream_error"|status 503/.test(text))).toHaveLength(texts.length);
    shown.push(...texts, ...proxy.lines);
    await proxy.close();
  } finally {
    process.stderr.write = write;
  }
  const sent = [...badger.calls, ...collector.calls, ...webhook.calls].map((call) => String(call.body));
  expect(badger.calls.length).toBeGreaterThan(1);
  expect(collector.calls.length).toBeGreaterThan(0);
  expect(sent.join('')).toContain('"gen_ai.request.model"');
  expect(shown.join('\n')).toContain('"outcome":"upstream_error"');
  const all = [...shown, ...sent, ...written].join('\n').toLowerCase();
  expect(Object.values(planted).filter((secret) => all.includes(secret))).toEqual([]);
});

describe('where prompts are wished', () => {
  it('keeps them in records, without what HISTORY_REDACT matches, and in nothing else', async () => {
    const backend = await startBackend(
      answerJson(200, { choices: [{ message: { content: 'sk-answer0 and words' } }] }),
    );
    const collector = await startBackend(answerJson(200, {}));
    const config = await readConfig({
      AUTH: 'none',
      BACKEND_URL: backend.url,
      BACKEND_KIND: 'openai',
      HISTORY_CONTENT: 'full',
      HISTORY_REDACT: '["sk-[a-z0-9]+"]',
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    });
    const proxy = await serveHandler(createProxy(config));
    const body = JSON.stringify({ model: 'm', prompt: 'sk-planted0 and planted words' });
    await (await fetch(`${proxy.url}/v1/completions`, { method: 'POST', body })).text();
    const read = async (path: string) => (await fetch(proxy.url + path)).text();
    const { records } = JSON.parse(await read('/history?format=json'));
    expect(records[0].prompt).toBe('{"model":"m","prompt":"[redacted] and planted words"}');
    expect(records[0].completion).toContain('[redacted] and words');
    const others = [await read('/logs'), await read('/metrics'), ...proxy.lines];
    await proxy.close();
    others.push(...collector.calls.map((call) => String(call.body)));
    expect(collector.calls).toHaveLength(1);
    expect(others.join('\n')).not.toContain('planted');
  });
});
