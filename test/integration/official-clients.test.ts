import Anthropic from '@anthropic-ai/sdk';
import { Ollama } from 'ollama';
import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startAnthropicSandbox } from '../../sandbox/anthropic.ts';
import { startOllamaSandbox } from '../../sandbox/ollama.ts';
import { startOpenAiSandbox } from '../../sandbox/openai.ts';
import { until } from '../support/bundle-process.ts';
import { buildProxy, type ProxyBundle } from '../support/proxy-bundle.ts';

let bundle: ProxyBundle;
let backend: Awaited<ReturnType<typeof startOllamaSandbox>>;
let proxyUrl: string;

beforeAll(async () => {
  bundle = await buildProxy();
  backend = await startOllamaSandbox({ chunkDelayMs: 2 });
  proxyUrl = (await bundle.start({ OLLAMA_URL: backend.url })).url;
}, 60_000);
afterEach(() => {
  backend.faults.length = 0;
  backend.ledger.length = 0;
});
afterAll(async () => {
  await bundle.close();
  await backend.close();
});

/** Times are the only thing in which two answers of the simulated models differ. */
const timeless = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value), (key, item) => (/^(created|created_at)$/.test(key) ? 'then' : item));

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

/** What an error is to who catches it. */
const errorOf = (failing: Promise<unknown>) =>
  failing.then(
    () => 'no error',
    // biome-ignore lint/suspicious/noExplicitAny: three clients' errors, each with fields of its own
    (error: any) => ({
      type: error.constructor.name,
      status: error.status ?? error.status_code,
      message: error.message,
      code: error.code,
      body: error.error,
    }),
  );

/** The backend's side of a caller that left: the call that came, and that its stream was not read to its end. */
const untilAborted = () =>
  until('the backend sees the caller leave', () => backend.ledger.find(({ aborted }) => aborted), 2_000);

const weather = {
  name: 'get_weather',
  description: 'The weather in a city',
  parameters: { type: 'object', required: ['city'], properties: { city: { type: 'string' } } },
};
const question = 'What does get_weather say about Berlin?';

const references = new Map<string, unknown>();

describe.each(['direct', 'proxied'] as const)('the client %s', (way) => {
  // Filled by the direct run, which comes first, and compared with by the proxied one.
  const expectSame = (what: string, value: unknown) => {
    const seen = timeless(value);
    if (way === 'direct') references.set(what, seen);
    else expect(seen).toEqual(references.get(what));
  };
  const openai = (options = {}) =>
    new OpenAI({
      baseURL: `${way === 'direct' ? backend.url : proxyUrl}/v1`,
      apiKey: 'proxy-key',
      maxRetries: 0,
      ...options,
    });
  const ollama = () =>
    new Ollama({
      host: way === 'direct' ? backend.url : proxyUrl,
      headers: { Authorization: 'Bearer proxy-key' },
    });
  const anthropic = (options = {}) =>
    new Anthropic({
      baseURL: way === 'direct' ? backend.url : proxyUrl,
      apiKey: 'proxy-key',
      maxRetries: 0,
      ...options,
    });
  const messages = [{ role: 'user' as const, content: question }];
  const tools = [{ type: 'function' as const, function: weather }];

  describe('openai', () => {
    const chat = { model: 'llama2', messages };

    it('answers a chat, whole and in chunks that end with their usage', async () => {
      const whole = await openai().chat.completions.create(chat);
      expect(whole.choices[0]?.message.content).toMatch(/\w+ \w+/);
      expectSame('chat', whole);
      const chunks = await collect(
        await openai().chat.completions.create({ ...chat, stream: true, stream_options: { include_usage: true } }),
      );
      expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(
        whole.choices[0]?.message.content,
      );
      expect(chunks.at(-1)?.usage).toEqual(whole.usage);
      expectSame('chat stream', chunks);
      // A caller who did not ask for the usage must not get its chunk, which has no choices.
      const plain = await collect(await openai().chat.completions.create({ ...chat, stream: true }));
      expect(plain.every(({ choices }) => choices.length === 1)).toBe(true);
      expectSame('chat stream without usage', plain);
    });

    it('calls a tool, gives its result and reads the answer', async () => {
      const first = await openai().chat.completions.create({ ...chat, tools });
      const [call] = first.choices[0]?.message.tool_calls ?? [];
      expect(call).toMatchObject({ function: { name: 'get_weather', arguments: '{"city":"Berlin"}' } });
      const result = { role: 'tool' as const, tool_call_id: call!.id, content: 'rain' };
      const second = await openai().chat.completions.create({
        ...chat,
        messages: [...messages, first.choices[0]!.message, result],
        tools,
      });
      expect(second.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: expect.any(String) } });
      expectSame('openai tools', [first, second]);
      const streamed = await openai()
        .chat.completions.stream({ ...chat, tools })
        .finalChatCompletion();
      expect(streamed.choices[0]?.message.tool_calls?.[0]).toMatchObject({
        function: { arguments: '{"city":"Berlin"}' },
      });
      expectSame('openai tools streamed', streamed);
    });

    it('makes responses, whole and as events, with and without a tool', async () => {
      const body = { model: 'llama2', input: question, instructions: 'Be short' };
      const whole = await openai().responses.create(body);
      expect(whole.output_text).toMatch(/\w+ \w+/);
      const events = await collect(await openai().responses.create({ ...body, stream: true }));
      expect(events.at(-1)).toMatchObject({ type: 'response.completed', response: { usage: whole.usage } });
      const [tool] = [{ type: 'function' as const, strict: false, ...weather }];
      const called = await collect(await openai().responses.create({ ...body, tools: [tool!], stream: true }));
      expect(called.map(({ type }) => type)).toContain('response.function_call_arguments.done');
      expectSame('responses', [whole, events, called]);
    });

    it('completes, embeds and lists models', async () => {
      const completion = await openai().completions.create({ model: 'llama2', prompt: 'Once' });
      const chunks = await collect(
        await openai().completions.create({ model: 'llama2', prompt: 'Once', stream: true }),
      );
      const embedding = await openai().embeddings.create({ model: 'nomic-embed-text', input: ['a', 'b'] });
      expect(embedding.data[0]?.embedding).toHaveLength(768);
      const models = (await openai().models.list()).data.map(({ id }) => id).sort();
      expect(models).toContain('llama2:latest');
      expectSame('openai rest', [completion, chunks, embedding, models, await openai().models.retrieve('llama2')]);
    });

    it('catches the errors that the backend sends', async () => {
      expectSame('openai 400', await errorOf(openai().chat.completions.create({ model: 'llama2', messages: [] })));
      backend.faults.push({ kind: 'status', status: 418 });
      const error = await errorOf(openai().chat.completions.create(chat));
      expect(error).toMatchObject({ status: 418 });
      expectSame('openai 418', error);
    });

    it('finds an unknown model missing', async () => {
      expect(await errorOf(openai().chat.completions.create({ ...chat, model: 'gpt-9' }))).toMatchObject({
        type: 'NotFoundError',
        status: 404,
      });
    });

    it('succeeds once a 429 has passed, by its own retry', async () => {
      backend.faults.push({ kind: 'rate-limit', times: 1, retryAfterS: 0 });
      expectSame('openai 429', await openai({ maxRetries: 2 }).chat.completions.create(chat));
    });

    it('leaves a stream, and a call without one, and the backend stops', async () => {
      const stream = await openai().chat.completions.create({ ...chat, stream: true });
      for await (const _ of stream) break;
      await untilAborted();
      backend.ledger.length = 0;
      backend.faults.push({ kind: 'hang', times: 1 });
      const gone = new AbortController();
      const failing = errorOf(openai().chat.completions.create(chat, { signal: gone.signal }));
      await until('the call arrives', () => backend.ledger[0]);
      gone.abort();
      expect(await failing).toMatchObject({ type: 'APIUserAbortError' });
      await untilAborted();
    });
  });

  describe('ollama', () => {
    it('generates and chats, whole and in lines', async () => {
      const fields = { model: 'llama2', prompt: 'Once' };
      const chat = { model: 'llama2', messages };
      const whole = await ollama().generate({ ...fields, stream: false });
      const lines = await collect(await ollama().generate({ ...fields, stream: true }));
      expect(lines.map(({ response }) => response).join('')).toBe(whole.response);
      expect(lines.at(-1)).toMatchObject({ done: true, eval_count: lines.length - 1 });
      const said = await ollama().chat({ ...chat, stream: false });
      const pieces = await collect(await ollama().chat({ ...chat, stream: true }));
      expect(pieces.map(({ message }) => message.content).join('')).toBe(said.message.content);
      expectSame('ollama', [whole, lines, said, pieces]);
    });

    it('calls a tool, gives its result and reads the answer', async () => {
      const first = await ollama().chat({ model: 'llama2', messages, tools });
      expect(first.message.tool_calls).toEqual([{ function: { name: 'get_weather', arguments: { city: 'Berlin' } } }]);
      const result = { role: 'tool', tool_name: 'get_weather', content: 'rain' };
      const second = await ollama().chat({ model: 'llama2', messages: [...messages, first.message, result], tools });
      expect(second.message.tool_calls).toBeUndefined();
      const lines = await collect(await ollama().chat({ model: 'llama2', messages, tools, stream: true }));
      expect(lines[0]?.message.tool_calls).toHaveLength(1);
      expectSame('ollama tools', [first, second, lines]);
    });

    it('embeds, lists models and tells the version', async () => {
      const { models } = await ollama().list();
      expect(models.map(({ name }) => name)).toContain('llama2:latest');
      const embedding = await ollama().embed({ model: 'nomic-embed-text', input: 'a' });
      expectSame('ollama rest', [
        models.map(({ name, digest }) => [name, digest]).sort(),
        embedding,
        await ollama().version(),
      ]);
    });

    it('catches an error before the stream, and one in it', async () => {
      const wrong = await errorOf(ollama().chat({ model: 'nomic-embed-text', messages }));
      expect(wrong).toMatchObject({ type: 'ResponseError', status: 400 });
      expectSame('ollama 400', wrong);
      expect(await errorOf(ollama().generate({ model: 'gpt-9', prompt: 'x' }))).toMatchObject({ status: 404 });
      backend.faults.push({ kind: 'cut', afterBytes: 150, times: 1 });
      const cut = collect(await ollama().generate({ model: 'llama2', prompt: 'x', stream: true }));
      expect(await errorOf(cut)).toMatchObject({ message: expect.any(String) });
    });

    it('leaves a stream and the backend stops', async () => {
      const stream = await ollama().chat({ model: 'llama2', messages, stream: true });
      const failing = errorOf(collect(stream));
      stream.abort();
      expect(await failing).toMatchObject({ type: 'DOMException' });
      await untilAborted();
    });
  });

  describe('@anthropic-ai/sdk', () => {
    const fields = { model: 'llama2', max_tokens: 100, messages };

    it('answers a message, whole and as events', async () => {
      const whole = await anthropic().messages.create(fields);
      expect(whole).toMatchObject({ content: [{ type: 'text' }], stop_reason: 'end_turn' });
      const events = await collect(await anthropic().messages.create({ ...fields, stream: true }));
      const built = await anthropic().messages.stream(fields).finalMessage();
      expect(built.content).toEqual(whole.content);
      expect(built.usage).toMatchObject({ output_tokens: whole.usage.output_tokens });
      expectSame('anthropic', [whole, events, built]);
    });

    it('calls a tool, gives its result and reads the answer', async () => {
      const { name, description, parameters } = weather;
      const schema = { ...parameters, type: 'object' as const };
      const tool = { name, description, input_schema: schema };
      const first = await anthropic()
        .messages.stream({ ...fields, tools: [tool] })
        .finalMessage();
      const [block] = first.content;
      expect(block).toMatchObject({ type: 'tool_use', name: 'get_weather', input: { city: 'Berlin' } });
      expect(first.stop_reason).toBe('tool_use');
      const id = block?.type === 'tool_use' ? block.id : '';
      const second = await anthropic().messages.create({
        ...fields,
        tools: [tool],
        messages: [
          ...messages,
          { role: 'assistant', content: first.content },
          { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content: 'rain' }] },
        ],
      });
      expect(second).toMatchObject({ content: [{ type: 'text' }], stop_reason: 'end_turn' });
      expectSame('anthropic tools', [first, second]);
    });

    it('catches the errors of its own dialect', async () => {
      const wrong = await errorOf(anthropic().messages.create({ ...fields, messages: [] }));
      expect(wrong).toMatchObject({ type: 'BadRequestError', body: { type: 'error' } });
      expectSame('anthropic 400', wrong);
      const missing = await errorOf(anthropic().messages.create({ ...fields, model: 'claude-9' }));
      expect(missing).toMatchObject({
        type: 'NotFoundError',
        body: { type: 'error', error: { type: 'not_found_error' } },
      });
    });

    it('leaves a stream and the backend stops', async () => {
      const stream = await anthropic().messages.create({ ...fields, stream: true });
      for await (const _ of stream) break;
      await untilAborted();
    });
  });
});

describe('a refusal of our own', () => {
  it('is an AuthenticationError to both SDKs and a ResponseError to ollama, without a word to the backend', async () => {
    const wrong = { apiKey: 'wrong', maxRetries: 0 };
    const chat = { model: 'llama2', messages: [{ role: 'user' as const, content: 'x' }] };
    const failures = [
      new OpenAI({ ...wrong, baseURL: `${proxyUrl}/v1` }).chat.completions.create(chat),
      new Anthropic({ ...wrong, baseURL: proxyUrl }).messages.create({ ...chat, max_tokens: 1 }),
      new Ollama({ host: proxyUrl }).chat(chat),
    ];
    const errors = await Promise.all(failures.map(errorOf));
    expect(errors.map((error) => (typeof error === 'string' ? error : [error.type, error.status]))).toEqual([
      ['AuthenticationError', 401],
      ['AuthenticationError', 401],
      ['ResponseError', 401],
    ]);
    expect(backend.ledger).toEqual([]);
  });
});

describe('one proxy before three backends, two of which want keys of their own', () => {
  const messages = [{ role: 'user' as const, content: 'Hello there' }];
  let openAi: Awaited<ReturnType<typeof startOpenAiSandbox>>;
  let anthropic: Awaited<ReturnType<typeof startAnthropicSandbox>>;
  let url: string;

  beforeAll(async () => {
    openAi = await startOpenAiSandbox({ chunkDelayMs: 2 });
    anthropic = await startAnthropicSandbox({ chunkDelayMs: 2 });
    const backends = [
      { name: 'local', url: backend.url, kind: 'ollama', models: ['llama*', 'qwen*', 'nomic*'] },
      { name: 'openai', url: `${openAi.url}/v1`, kind: 'openai', models: ['gpt-*'], credential: 'openai-api-key' },
      {
        name: 'anthropic',
        url: anthropic.url,
        kind: 'anthropic',
        models: ['claude-*'],
        credential: 'anthropic-api-key',
      },
    ];
    const proxy = await bundle.start({
      BACKENDS: JSON.stringify(backends),
      OPENAI_API_KEY: openAi.credentials['openai-api-key']!,
      ANTHROPIC_API_KEY: anthropic.credentials['anthropic-api-key']!,
    });
    url = proxy.url;
  });
  afterAll(async () => {
    await openAi.close();
    await anthropic.close();
  });
  const openAiClient = () => new OpenAI({ baseURL: `${url}/v1`, apiKey: 'proxy-key', maxRetries: 0 });
  const anthropicClient = () => new Anthropic({ baseURL: url, apiKey: 'proxy-key', maxRetries: 0 });

  it('lets each client reach its own models with the one key of the proxy', async () => {
    const chat = await openAiClient().chat.completions.create({ model: 'gpt-4o-mini', messages });
    const message = await anthropicClient().messages.create({ model: 'claude-haiku-4-5', max_tokens: 50, messages });
    const local = new Ollama({ host: url, headers: { Authorization: 'Bearer proxy-key' } });
    const said = await local.chat({ model: 'llama3.2', messages });
    expect([chat.model, message.model, said.model]).toEqual(['gpt-4o-mini', 'claude-haiku-4-5', 'llama3.2']);
    expect(openAi.ledger.length + anthropic.ledger.length).toBeGreaterThanOrEqual(2);
  });

  it('lists the models of all of them', async () => {
    const names = (await openAiClient().models.list()).data.map(({ id }) => id);
    expect(names).toEqual(expect.arrayContaining(['gpt-4o-mini', 'claude-haiku-4-5', 'llama3.2:latest']));
  });

  it('throws an error of the client where a stream breaks off in the middle', async () => {
    openAi.faults.push({ kind: 'cut', afterBytes: 900, times: 1, path: '/chat/' });
    const chunks: unknown[] = [];
    const reading = async () => {
      const stream = await openAiClient().chat.completions.create({ model: 'gpt-4o-mini', messages, stream: true });
      for await (const chunk of stream) chunks.push(chunk);
    };
    // Half an event cannot be taken back: the client then stumbles over it before it reads ours.
    expect(await errorOf(reading())).toMatchObject({ type: expect.stringMatching(/^(APIError|SyntaxError)$/) });
    expect(chunks.length).toBeGreaterThan(0);

    anthropic.faults.push({ kind: 'cut', afterBytes: 900, times: 1, path: '/messages' });
    const stream = anthropicClient().messages.stream({ model: 'claude-haiku-4-5', max_tokens: 50, messages });
    expect(await errorOf(stream.finalMessage())).toMatchObject({
      type: expect.stringMatching(/^(APIError|AnthropicError)$/),
    });
  });

  it('tells a wrong model name with the right ones', async () => {
    const error = await errorOf(openAiClient().chat.completions.create({ model: 'gpt9', messages }));
    expect(error).toMatchObject({ type: 'NotFoundError', status: 404, message: expect.stringContaining('gpt-*') });
  });
});
