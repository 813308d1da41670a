import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startOllamaSandbox } from '../../sandbox/ollama.ts';

let sandbox: Awaited<ReturnType<typeof startOllamaSandbox>>;
beforeAll(async () => {
  sandbox = await startOllamaSandbox({ chunkDelayMs: 0 });
});
afterAll(() => sandbox.close());

const post = (path: string, body: unknown) =>
  fetch(sandbox.url + path, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'Content-Type': 'application/json' },
  });

/** Answers are checked field by field, so their type may be anything. */
// biome-ignore lint/suspicious/noExplicitAny: a test reads what came over the wire
const jsonOf = (answer: Response): Promise<any> => answer.json();

describe('simulated Ollama', () => {
  it('streams NDJSON unless stream is false, and both say the same', async () => {
    const streamed = await post('/api/generate', { model: 'llama2', prompt: 'hello' });
    expect(streamed.headers.get('content-type')).toBe('application/x-ndjson');
    const lines = (await streamed.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.slice(0, -1).every((line) => line.done === false)).toBe(true);
    expect(lines.at(-1)).toMatchObject({ done: true, done_reason: 'stop', eval_count: lines.length - 1 });
    const whole = await jsonOf(await post('/api/generate', { model: 'llama2', prompt: 'hello', stream: false }));
    expect(whole.response).toBe(lines.map((line) => line.response).join(''));
  });

  it('answers a chat in messages', async () => {
    const body = {
      model: 'llama3.2',
      messages: [{ role: 'user', content: 'hi' }],
      stream: false,
      options: { num_predict: 3 },
    };
    const answer = await jsonOf(await post('/api/chat', body));
    expect(answer).toMatchObject({ message: { role: 'assistant' }, done_reason: 'length', eval_count: 3 });
  });

  it('refuses an unknown model with 404, in the shape of the route asked', async () => {
    const native = await post('/api/generate', { model: 'gpt-9', prompt: 'x' });
    expect([native.status, await native.json()]).toEqual([404, { error: "model 'gpt-9' not found" }]);
    const openai = await post('/v1/chat/completions', { model: 'gpt-9', messages: [{ role: 'user', content: 'x' }] });
    expect(openai.status).toBe(404);
    expect(await openai.json()).toEqual({
      error: { message: "model 'gpt-9' not found", type: 'not_found_error', param: null, code: null },
    });
  });

  it('ends an OpenAI stream with usage (where asked) and [DONE]', async () => {
    const body = { model: 'llama2', messages: [{ role: 'user', content: 'x' }], stream: true };
    const plain = await (await post('/v1/chat/completions', body)).text();
    expect(plain).not.toContain('"usage"');
    const text = await (
      await post('/v1/chat/completions', { ...body, stream_options: { include_usage: true } })
    ).text();
    const events = text
      .trim()
      .split('\n\n')
      .map((event) => event.replace(/^data: /, ''));
    expect(events.pop()).toBe('[DONE]');
    const chunks = events.map((event) => JSON.parse(event));
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: chunks.length - 2 } });
    expect(chunks[0].usage).toBeNull();
  });

  it('embeds, lists its models and says that it runs', async () => {
    const native = await jsonOf(await post('/api/embed', { model: 'nomic-embed-text', input: ['a', 'b'] }));
    expect(native.embeddings.map((vector: number[]) => vector.length)).toEqual([768, 768]);
    const body = { model: 'nomic-embed-text', input: 'a', encoding_format: 'base64' };
    const encoded = await jsonOf(await post('/v1/embeddings', body));
    const bytes = Buffer.from(encoded.data[0].embedding, 'base64');
    expect(bytes.readFloatLE(0)).toBeCloseTo(native.embeddings[0][0], 6);
    const tags = await jsonOf(await fetch(`${sandbox.url}/api/tags`));
    const models = await jsonOf(await fetch(`${sandbox.url}/v1/models`));
    expect(models.data.map((item: { id: string }) => item.id)).toEqual(
      tags.models.map((item: { name: string }) => item.name),
    );
    expect(await (await fetch(sandbox.url)).text()).toBe('Ollama is running');
  });

  it('stops generating when the caller leaves', async () => {
    const slow = await startOllamaSandbox({ chunkDelayMs: 20 });
    const leave = new AbortController();
    const body = JSON.stringify({ model: 'llama2', prompt: 'hello' });
    const answer = await fetch(`${slow.url}/api/generate`, { method: 'POST', body, signal: leave.signal });
    await answer.body?.getReader().read();
    leave.abort();
    await expect.poll(() => slow.ledger[0]?.aborted).toBe(true);
    const generations = async () =>
      (await jsonOf(await fetch(`${slow.url}/_sandbox/ledger`))).state.generations as {
        chunks: number;
        sent: number;
      }[];
    await expect.poll(async () => (await generations())[0]?.sent).toBeGreaterThan(0);
    const [record] = await generations();
    expect(record!.sent).toBeLessThan(record!.chunks);
    await slow.close();
  });
});
