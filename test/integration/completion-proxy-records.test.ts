import { describe, expect, it } from 'vitest';
import { usageRecord } from '#shared/usage.ts';
import { toUsageRecord } from '../../functions/completion-proxy/records/record.ts';
import { closeAfterEach, startBackend, startProxy as startOpenProxy } from '../support/proxy-road.ts';
import { answerJson, chatChunk, cut, hangUp, keepSilent, stall, streamEvents } from '../support/scripted-backend.ts';

closeAfterEach();

const prices = '{"m": {"input_cost_per_token": 0.001, "output_cost_per_token": 0.01}}';

/** The proxy with the price of `m`. */
const startProxy = (env: Record<string, unknown>) => startOpenProxy({ PRICES: prices, ...env });

const chat = (body: object = {}, signal?: AbortSignal) => ({
  method: 'POST',
  headers: { 'Content-Type': 'application/json', 'X-Request-ID': 'mine' },
  body: JSON.stringify({ model: 'm', ...body }),
  ...(signal === undefined ? {} : { signal }),
});
const ask = (proxy: { url: string }, body: object = {}, path = '/v1/chat/completions') =>
  fetch(proxy.url + path, chat(body));

const usage = { prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 };
const fine = answerJson(200, {
  id: 'chatcmpl-9',
  model: 'm-1',
  choices: [{ message: {}, finish_reason: 'stop' }],
  usage,
});
const usageChunk = `data: ${JSON.stringify({ id: 'chatcmpl-9', model: 'm-1', choices: [], usage })}\n\n`;

describe('the record of a call', () => {
  it('tells who asked for what, who answered, how long it took and what it cost, and is what lago-usage-push takes', async () => {
    const backend = await startBackend(fine);
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai' });
    await (await ask(proxy, { user: 'alice' })).text();
    const record = await proxy.next();
    expect(record).toMatchObject({
      id: 'mine',
      upstream_id: 'chatcmpl-9',
      litellm_call_id: null,
      billed_by: null,
      caller: 'anonymous',
      end_user: 'alice',
      model: 'm-1',
      requested_model: 'm',
      backend: 'backend',
      provider: 'openai',
      status: 200,
      outcome: 'ok',
      tokens: { input: 2, output: 3 },
      usage_source: 'upstream',
      cost_usd: '0.032',
      method: 'POST',
      path: '/v1/chat/completions',
      stream: false,
      attempts: 1,
      failed_attempts: [],
      finish_reason: 'stop',
      chunks: 1,
    });
    expect(record.first_byte_ms).toBeGreaterThanOrEqual(0);
    expect(record.duration_ms).toBeGreaterThanOrEqual(record.first_byte_ms!);
    expect(usageRecord.parse(toUsageRecord(record))).toMatchObject({
      id: `mine.${record.serial}`,
      cost_usd: '0.032',
    });
  });

  it('is billed for itself, though its caller gives every call the same request id', async () => {
    const backend = await startBackend(fine);
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai' });
    const bill = async () => {
      await (await ask(proxy)).text();
      return toUsageRecord(await proxy.next())?.id;
    };
    const ids = [await bill(), await bill(), await bill()];
    expect(new Set(ids).size).toBe(3);
    for (const id of ids) expect(id).toMatch(/^mine\.[a-z0-9]+-[a-z0-9]+$/);
  });

  it('counts a stream by its usage chunk', async () => {
    const backend = await startBackend(
      streamEvents([chatChunk('a'), chatChunk('', 'stop'), usageChunk, 'data: [DONE]\n\n']),
    );
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai' });
    await (await ask(proxy, { stream: true })).text();
    expect(await proxy.next()).toMatchObject({
      stream: true,
      outcome: 'ok',
      tokens: { input: 2, output: 3 },
      finish_reason: 'stop',
    });
  });

  it('keeps as many words of a stream as of an answer in one piece, where content is wished', async () => {
    const backend = await startBackend(
      streamEvents([
        ...Array.from({ length: 200 }, () => chatChunk('word ')),
        chatChunk('', 'stop'),
        'data: [DONE]\n\n',
      ]),
    );
    const proxy = await startProxy({
      BACKEND_URL: backend.url,
      BACKEND_KIND: 'openai',
      HISTORY_CONTENT: 'full',
      HISTORY_CONTENT_BYTES: '900',
    });
    await (await ask(proxy, { stream: true })).text();
    expect((await proxy.next()).completion).toBe('word '.repeat(180));
  });

  it('says that a stream without usage was not counted, and not that it was nothing', async () => {
    const backend = await startBackend(streamEvents([chatChunk('a'), chatChunk('', 'stop'), 'data: [DONE]\n\n']));
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai' });
    await (await ask(proxy, { stream: true })).text();
    expect(await proxy.next()).toMatchObject({ tokens: {}, usage_source: 'absent', cost_usd: null, outcome: 'ok' });
  });

  it('asks for the usage of a stream where the caller did not, counts it, and keeps the extra chunk to itself', async () => {
    const pieces = [chatChunk('a'), chatChunk('', 'stop'), usageChunk, 'data: [DONE]\n\n'];
    const backend = await startBackend(streamEvents([pieces.join('')]));
    const backends = [
      { name: 'asked', url: backend.url, kind: 'openai', models: ['m'] },
      { name: 'plain', url: backend.url, kind: 'openai', models: ['p'], collect_stream_usage: false },
    ];
    const proxy = await startProxy({ BACKENDS: backends, COLLECT_STREAM_USAGE: 'true' });
    const text = await (await ask(proxy, { stream: true })).text();
    expect(text).toBe(pieces.filter((piece) => piece !== usageChunk).join(''));
    expect(await proxy.next()).toMatchObject({ tokens: { input: 2, output: 3 }, outcome: 'ok', cost_usd: '0.032' });
    expect(JSON.parse(String(backend.calls[0]!.body))).toEqual({
      model: 'm',
      stream: true,
      stream_options: { include_usage: true },
    });

    const wish = { stream: true, stream_options: { include_usage: true } };
    expect(await (await ask(proxy, wish)).text()).toBe(pieces.join(''));
    await proxy.next();
    expect(await (await ask(proxy, { model: 'p', stream: true })).text()).toBe(pieces.join(''));
    expect(String(backend.calls[2]!.body)).toBe('{"model":"p","stream":true}');
    await proxy.next();
    await (await ask(proxy, { stream: false })).text();
    expect(String(backend.calls[3]!.body)).toBe('{"model":"m","stream":false}');
  });

  it('hides the chunk also where the stream has a length, and breaks off visibly in the middle of an event', async () => {
    const pieces = [chatChunk('', 'stop'), usageChunk, 'data: [DONE]\n\n'];
    const backend = await startBackend(
      (res) => {
        res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Content-Length': pieces.join('').length });
        res.end(pieces.join(''));
      },
      streamEvents([chatChunk('a'), 'data: {"choi'], cut),
    );
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai', COLLECT_STREAM_USAGE: 'true' });
    const whole = await (await ask(proxy, { stream: true })).text();
    expect(whole).toBe(pieces[0]! + pieces[2]!);
    const broken = await (await ask(proxy, { stream: true })).text();
    expect(broken).toMatch(/^data: .*\n\ndata: \{"choi\n\ndata: \{"error":/);
  });

  it('asks the backends of models for an answer that can be read', async () => {
    const backend = await startBackend(fine);
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai' });
    await (await ask(proxy)).text();
    await (await fetch(`${proxy.url}/v1/files`)).text();
    expect(backend.calls.map(({ headers }) => headers['accept-encoding'])).toEqual([undefined, 'gzip, deflate']);
  });

  it('tells the backend and the usage of a fallback, and the failed attempts apart', async () => {
    const first = await startBackend(hangUp, answerJson(503, { error: 'busy', usage }), answerJson(503, { usage }));
    const second = await startBackend(fine);
    const proxy = await startProxy({
      BACKENDS: [
        { name: 'first', url: first.url, kind: 'openai' },
        { name: 'second', url: second.url, kind: 'openai', order: 2, billed_by: 'litellm' },
      ],
    });
    await (await ask(proxy)).text();
    expect(await proxy.next()).toMatchObject({
      backend: 'second',
      billed_by: 'litellm',
      status: 200,
      outcome: 'ok',
      attempts: 4,
      tokens: { input: 2, output: 3 },
      failed_attempts: [
        { backend: 'first', failure: 'network', status: null },
        { backend: 'first', failure: 'status', status: 503 },
        { backend: 'first', failure: 'status', status: 503 },
      ],
    });
  });

  it('bills nothing of a call that failed for good, and says why it ended', async () => {
    const backend = await startBackend(answerJson(400, { error: { message: 'too long' }, usage }));
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai' });
    await (await ask(proxy)).text();
    expect(await proxy.next()).toMatchObject({ status: 400, tokens: {}, usage_source: 'absent', cost_usd: null });
  });

  it('tells a client who left from a backend that died, and both from one that was silent', async () => {
    const begun = `data: ${JSON.stringify({ id: 'c', model: 'm-1', choices: [{ delta: { content: 'a' } }] })}\n\n`;
    const backend = await startBackend(streamEvents([begun], stall), streamEvents([begun], cut), keepSilent);
    const proxy = await startProxy({
      BACKEND_URL: backend.url,
      BACKEND_KIND: 'openai',
      BACKEND_FIRST_BYTE_TIMEOUT_MS: '100',
      RETRIES: '0',
    });
    const leaving = new AbortController();
    const answer = await fetch(`${proxy.url}/v1/chat/completions`, chat({ stream: true }, leaving.signal));
    await answer.body!.getReader().read();
    leaving.abort();
    expect(await proxy.next()).toMatchObject({
      outcome: 'client_abort',
      status: 200,
      model: 'm-1',
      failed_attempts: [],
    });

    await (await ask(proxy, { stream: true })).text();
    expect(await proxy.next()).toMatchObject({
      outcome: 'upstream_error',
      status: 200,
      failed_attempts: [{ backend: 'backend', failure: 'network' }],
    });

    await (await ask(proxy)).text();
    expect(await proxy.next()).toMatchObject({ outcome: 'timeout', status: 504, first_byte_ms: null });
  });

  it('counts what a caller who left did not wait for, where the backend is let finish', async () => {
    let hasCall!: () => void;
    let answer!: () => void;
    const asked = new Promise<void>((resolve) => (hasCall = resolve));
    const backend = await startBackend((res, call) => {
      answer = () => fine(res, call);
      hasCall();
    });
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai', CANCEL_ON_DISCONNECT: 'false' });
    const leaving = new AbortController();
    const gone = fetch(`${proxy.url}/v1/chat/completions`, chat({}, leaving.signal)).catch(() => undefined);
    await asked;
    leaving.abort();
    await gone;
    await expect.poll(async () => (await fetch(`${proxy.url}/logs`)).text()).toContain('status 499');
    answer();
    expect(await proxy.next()).toMatchObject({
      outcome: 'client_abort',
      status: 499,
      tokens: { input: 2, output: 3 },
      cost_usd: '0.032',
      failed_attempts: [],
    });
  });

  it.each([
    ['a type in other letters', { 'Content-Type': 'Application/JSON', 'Content-Encoding': 'Identity' }],
    ['no type', {}],
  ])('counts an answer with %s', async (_name, headers) => {
    const backend = await startBackend((res) => res.writeHead(200, headers).end(JSON.stringify({ usage })));
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai' });
    await (await ask(proxy)).text();
    expect(await proxy.next()).toMatchObject({ tokens: { input: 2, output: 3 } });
  });

  it('sees an error that a backend told with status 200', async () => {
    const backend = await startBackend(answerJson(200, { error: { message: 'Provider returned error', code: 502 } }));
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai' });
    await (await ask(proxy)).text();
    expect(await proxy.next()).toMatchObject({ status: 200, outcome: 'upstream_error', usage_source: 'absent' });
  });

  it('sees an error that a backend told inside a stream of status 200', async () => {
    const backend = await startBackend(streamEvents([chatChunk('a'), 'data: {"error":{"message":"overloaded"}}\n\n']));
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai' });
    await (await ask(proxy, { stream: true })).text();
    expect(await proxy.next()).toMatchObject({ outcome: 'upstream_error', status: 200 });
  });

  it('knows a call that LiteLLM logs itself by its answer', async () => {
    const backend = await startBackend(answerJson(200, { model: 'm', usage }, { 'X-LiteLLM-Call-Id': 'abc' }));
    const proxy = await startProxy({ BACKEND_URL: backend.url, BACKEND_KIND: 'openai' });
    await (await ask(proxy)).text();
    expect(await proxy.next()).toMatchObject({ litellm_call_id: 'abc', billed_by: 'litellm' });
  });

  it.each(['/history?format=sse', '/history?format=ndjson&follow=true', '/logs?format=sse', '/_proxy/ui/live'])(
    'can be followed on %s, where HEAD is answered at once',
    async (path) => {
      const proxy = await startProxy({ BACKEND_URL: 'http://127.0.0.1:1' });
      const answer = await fetch(proxy.url + path, { method: 'HEAD', signal: AbortSignal.timeout(5_000) });
      expect([answer.status, await answer.text()]).toEqual([200, '']);
      expect(answer.headers.get('content-type')).toMatch(/^(text\/event-stream|application\/x-ndjson)/);
    },
  );

  it('is made of calls of a model only', async () => {
    const backend = await startBackend(answerJson(200, { any: 1 }));
    const proxy = await startProxy({ BACKEND_URL: backend.url });
    await (await ask(proxy, {}, '/anything')).text();
    expect(proxy.records).toEqual([]);
  });
});
