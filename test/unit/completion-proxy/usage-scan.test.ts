import { describe, expect, it } from 'vitest';
import type { Dialect } from '../../../functions/completion-proxy/routing/llm-route.ts';
import { createUsageScan, type Told } from '../../../functions/completion-proxy/usage/scan.ts';

const sse = (...events: unknown[]) => events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('');
const named = (...events: { type: string }[]) =>
  events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('');
const lines = (...objects: unknown[]) => objects.map((object) => `${JSON.stringify(object)}\n`).join('');

/** Text that looks like what we look for: inside a JSON string its quotes are escaped. */
const trap = 'she wrote "usage":{"prompt_tokens":1} and "done":true, then "error"\n🙂 ünïcode';

const chunk = (content: string, more: object = {}) => ({
  id: 'chatcmpl-1',
  model: 'gpt-4o-mini',
  choices: [{ index: 0, delta: { content }, finish_reason: null }],
  usage: null,
  ...more,
});
const openAiUsage = {
  prompt_tokens: 12,
  completion_tokens: 34,
  total_tokens: 46,
  prompt_tokens_details: { cached_tokens: 8, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 20 },
};
const openAiTokens = { input: 12, output: 34, cached_input: 8, audio_input: 0, reasoning: 20 };

interface Example {
  name: string;
  dialect: Dialect;
  form: 'sse' | 'ndjson' | 'body';
  text: string;
  told: Told;
}

const examples: Example[] = [
  {
    name: 'a chat completion stream with a usage chunk',
    dialect: 'chat',
    form: 'sse',
    text:
      `: ping\n\n${sse(chunk('Hi'), chunk(trap), { ...chunk(''), choices: [{ delta: {}, finish_reason: 'stop' }] })}` +
      `${sse({ id: 'chatcmpl-1', model: 'gpt-4o-mini', choices: [], usage: openAiUsage })}data: [DONE]\n\n`,
    told: { id: 'chatcmpl-1', model: 'gpt-4o-mini', tokens: openAiTokens, finishReason: 'stop', isFailed: false },
  },
  {
    name: 'the same with CRLF and spaces',
    dialect: 'chat',
    form: 'sse',
    text: 'data: {"id": "c", "model": "m", "choices": []}\r\n\r\ndata: {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}\r\n\r\ndata: [DONE]\r\n\r\n',
    told: { id: 'c', model: 'm', tokens: { input: 1, output: 2 }, isFailed: false },
  },
  {
    name: "Ollama's /v1/completions, whose every chunk has a usage of zeros",
    dialect: 'chat',
    form: 'sse',
    text: sse(
      {
        id: 'c',
        model: 'llama',
        choices: [{ text: 'a' }],
        usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
      },
      { id: 'c', model: 'llama', choices: [], usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } },
      {
        id: 'c',
        model: 'llama',
        choices: [{ text: '' }],
        usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
      },
    ),
    told: { id: 'c', model: 'llama', tokens: { input: 3, output: 4 }, isFailed: false },
  },
  {
    name: "Groq's stream, whose usage stands in a member of its own",
    dialect: 'chat',
    form: 'sse',
    text: sse(chunk('Hi'), { ...chunk(''), x_groq: { id: 'req', usage: { prompt_tokens: 3, completion_tokens: 4 } } }),
    told: { id: 'chatcmpl-1', model: 'gpt-4o-mini', tokens: { input: 3, output: 4 }, isFailed: false },
  },
  {
    name: "Moonshot's stream, whose usage stands in the choice",
    dialect: 'chat',
    form: 'sse',
    text: sse(
      { id: 'c', model: 'kimi', choices: [{ delta: { content: 'a' } }] },
      {
        id: 'c',
        model: 'kimi',
        choices: [{ delta: {}, finish_reason: 'stop', usage: { prompt_tokens: 3, completion_tokens: 4 } }],
      },
    ),
    told: { id: 'c', model: 'kimi', tokens: { input: 3, output: 4 }, finishReason: 'stop', isFailed: false },
  },
  {
    name: "Azure's stream, whose first chunk has no name, and OpenRouter's comments",
    dialect: 'chat',
    form: 'sse',
    text: `: OPENROUTER PROCESSING\n\n${sse(
      { choices: [], created: 0, id: '', model: '', prompt_filter_results: [{ prompt_index: 0 }] },
      { ...chunk('Hi') },
      { ...chunk(''), choices: [{ delta: {}, finish_reason: 'stop' }] },
      {
        ...chunk(''),
        choices: [],
        usage: { prompt_tokens: 1, completion_tokens: 2, cost: 0.1, prompt_tokens_details: null },
      },
    )}`,
    told: {
      id: 'chatcmpl-1',
      model: 'gpt-4o-mini',
      tokens: { input: 1, output: 2 },
      finishReason: 'stop',
      isFailed: false,
    },
  },
  {
    name: 'what a model of Gemini or xAI thought, which is in the total alone',
    dialect: 'chat',
    form: 'body',
    text: JSON.stringify({
      usage: {
        prompt_tokens: 5,
        completion_tokens: 9,
        total_tokens: 114,
        completion_tokens_details: { reasoning_tokens: 100 },
      },
    }),
    told: { tokens: { input: 5, output: 109, reasoning: 100 }, isFailed: false },
  },
  {
    name: 'a transcription, whose details have a name in the singular',
    dialect: 'chat',
    form: 'body',
    text: JSON.stringify({
      text: 'Hi',
      usage: { type: 'tokens', input_tokens: 14, input_token_details: { audio_tokens: 14 }, output_tokens: 4 },
    }),
    told: { tokens: { input: 14, output: 4, audio_input: 14 }, isFailed: false },
  },
  {
    name: 'a responses stream that counts nothing',
    dialect: 'responses',
    form: 'sse',
    text: named(
      { type: 'response.created', response: { id: 'r', model: 'm', status: 'in_progress' } } as never,
      { type: 'response.completed', response: { id: 'r', model: 'm', status: 'completed', usage: null } } as never,
    ),
    told: { id: 'r', model: 'm', isFailed: false },
  },
  {
    name: 'a messages stream that says at its end that there was no input',
    dialect: 'anthropic',
    form: 'sse',
    text: named(
      {
        type: 'message_start',
        message: { id: 'msg', model: 'm', usage: { input_tokens: 10, cache_read_input_tokens: 5, output_tokens: 0 } },
      } as never,
      {
        type: 'message_delta',
        delta: { stop_reason: 'end_turn' },
        usage: { input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 7 },
      } as never,
    ),
    told: {
      id: 'msg',
      model: 'm',
      tokens: { input: 10, cached_input: 5, output: 7 },
      finishReason: 'end_turn',
      isFailed: false,
    },
  },
  {
    name: 'an error inside a chat stream',
    dialect: 'chat',
    form: 'sse',
    text: sse(chunk('Hi'), { error: { message: 'overloaded', type: 'server_error' } }),
    told: { id: 'chatcmpl-1', model: 'gpt-4o-mini', isFailed: true },
  },
  {
    name: 'a responses stream, whose last event repeats the answer',
    dialect: 'responses',
    form: 'sse',
    text: named(
      {
        type: 'response.created',
        response: { id: 'resp_1', model: 'gpt-5', status: 'in_progress', usage: null },
      } as never,
      { type: 'response.output_text.delta', delta: trap } as never,
      {
        type: 'response.completed',
        response: {
          id: 'resp_1',
          model: 'gpt-5',
          status: 'completed',
          output: [{ text: trap.repeat(50) }],
          usage: {
            input_tokens: 5,
            input_tokens_details: { cached_tokens: 2 },
            output_tokens: 7,
            output_tokens_details: { reasoning_tokens: 3 },
          },
        },
      } as never,
    ),
    told: {
      id: 'resp_1',
      model: 'gpt-5',
      tokens: { input: 5, output: 7, cached_input: 2, reasoning: 3 },
      finishReason: 'completed',
      isFailed: false,
    },
  },
  {
    name: 'a failed responses stream, which has a usage too',
    dialect: 'responses',
    form: 'sse',
    text: named({
      type: 'response.failed',
      response: { id: 'resp_2', model: 'gpt-5', status: 'failed', usage: { input_tokens: 5, output_tokens: 0 } },
    } as never),
    told: { id: 'resp_2', model: 'gpt-5', tokens: { input: 5, output: 0 }, finishReason: 'failed', isFailed: true },
  },
  {
    name: 'a messages stream: the input at its beginning, the output at its end',
    dialect: 'anthropic',
    form: 'sse',
    text: named(
      {
        type: 'message_start',
        message: {
          id: 'msg_1',
          model: 'claude-sonnet-4-5',
          usage: { input_tokens: 10, cache_creation_input_tokens: 3, cache_read_input_tokens: 100, output_tokens: 1 },
        },
      } as never,
      { type: 'ping' },
      { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: trap } } as never,
      {
        type: 'message_delta',
        delta: { stop_reason: 'end_turn' },
        usage: { output_tokens: 42, input_tokens: null },
      } as never,
      { type: 'message_stop' },
    ),
    told: {
      id: 'msg_1',
      model: 'claude-sonnet-4-5',
      tokens: { input: 10, output: 42, cached_input: 100, cache_creation: 3 },
      finishReason: 'end_turn',
      isFailed: false,
    },
  },
  {
    name: 'an overloaded messages stream',
    dialect: 'anthropic',
    form: 'sse',
    text: named(
      {
        type: 'message_start',
        message: { id: 'msg_2', model: 'claude', usage: { input_tokens: 10, output_tokens: 1 } },
      } as never,
      { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } } as never,
    ),
    told: { id: 'msg_2', model: 'claude', tokens: { input: 10, output: 1 }, isFailed: true },
  },
  {
    name: "Ollama's chat, whose last line counts",
    dialect: 'ollama',
    form: 'ndjson',
    text: lines(
      { model: 'llama3.3', message: { content: trap }, done: false },
      {
        model: 'llama3.3',
        message: { content: '' },
        done: true,
        done_reason: 'stop',
        prompt_eval_count: 26,
        eval_count: 298,
      },
    ),
    told: { model: 'llama3.3', tokens: { input: 26, output: 298 }, finishReason: 'stop', isFailed: false },
  },
  {
    name: "Ollama's answer from its cache, where Go leaves the zero out, and no line break at the end",
    dialect: 'ollama',
    form: 'ndjson',
    text: lines({ model: 'l', response: '', done: true, done_reason: 'length', eval_count: 5 }).trimEnd(),
    told: { model: 'l', tokens: { input: 0, output: 5 }, finishReason: 'length', isFailed: false },
  },
  {
    name: "an error in Ollama's stream",
    dialect: 'ollama',
    form: 'ndjson',
    text: lines({ model: 'l', response: 'a', done: false }, { error: 'out of memory' }),
    told: { model: 'l', isFailed: true },
  },
  {
    name: 'a chat completion',
    dialect: 'chat',
    form: 'body',
    text: JSON.stringify(
      { ...chunk(''), choices: [{ message: { content: trap }, finish_reason: 'length' }], usage: openAiUsage },
      null,
      1,
    ),
    told: { id: 'chatcmpl-1', model: 'gpt-4o-mini', tokens: openAiTokens, finishReason: 'length', isFailed: false },
  },
  {
    name: 'embeddings',
    dialect: 'chat',
    form: 'body',
    text: JSON.stringify({
      object: 'list',
      data: [{ embedding: [0.1] }],
      model: 'e5',
      usage: { prompt_tokens: 8, total_tokens: 8 },
    }),
    told: { model: 'e5', tokens: { input: 8 }, isFailed: false },
  },
  {
    name: 'a message',
    dialect: 'anthropic',
    form: 'body',
    text: JSON.stringify({
      id: 'msg_3',
      type: 'message',
      model: 'claude',
      stop_reason: 'end_turn',
      usage: { input_tokens: 1, output_tokens: 2, cache_read_input_tokens: 0 },
    }),
    told: {
      id: 'msg_3',
      model: 'claude',
      tokens: { input: 1, output: 2, cached_input: 0 },
      finishReason: 'end_turn',
      isFailed: false,
    },
  },
  {
    name: 'an answer of Ollama',
    dialect: 'ollama',
    form: 'body',
    text: JSON.stringify({
      model: 'llama',
      response: trap,
      done: true,
      done_reason: 'stop',
      prompt_eval_count: 1,
      eval_count: 2,
    }),
    told: { model: 'llama', tokens: { input: 1, output: 2 }, finishReason: 'stop', isFailed: false },
  },
  {
    name: 'an answer that is no JSON',
    dialect: 'chat',
    form: 'body',
    text: '<html>502</html>',
    told: { isFailed: false },
  },
];

const scanned = ({ dialect, form }: Example, chunks: Buffer[]) => {
  const scan = createUsageScan(dialect, form)!;
  for (const piece of chunks) scan.note(piece);
  return JSON.parse(JSON.stringify(scan.end()));
};

describe('the usage scan', () => {
  it.each(examples)('reads $name, cut at every byte', (example) => {
    const bytes = Buffer.from(example.text);
    expect(scanned(example, [bytes])).toEqual(example.told);
    for (let at = 1; at < bytes.length; at += 1) {
      expect(scanned(example, [bytes.subarray(0, at), bytes.subarray(at)])).toEqual(example.told);
    }
    expect(
      scanned(
        example,
        [...bytes].map((byte) => Buffer.from([byte])),
      ),
    ).toEqual(example.told);
  });

  it.each(examples.filter(({ form }) => form !== 'body'))('reads $name behind many chunks of text', (example) => {
    // After its first event, which names the answer; before a stream that is one line alone.
    const [first = '', ...others] = example.text.split(/(?<=\n)(?=data|event|\{)/);
    const filler = example.form === 'sse' ? `: ${'x'.repeat(300)}\n\n` : `${JSON.stringify({ response: trap })}\n`;
    const bytes = Buffer.from(
      [...(first.endsWith('\n') ? [first] : []), filler.repeat(100), ...(first.endsWith('\n') ? others : [first])].join(
        '',
      ),
    );
    for (const size of [1, 77, 1_000, 8_192, 9_000, bytes.length]) {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
        bytes.subarray(at * size, (at + 1) * size),
      );
      expect(scanned(example, pieces), `in pieces of ${size}`).toEqual(example.told);
    }
  });

  it('takes the last of the counts that are told with every chunk, however the chunks come', () => {
    const events = Array.from({ length: 100 }, (_, index) => ({
      ...chunk(trap),
      choices: [{ index: 0, delta: { content: trap }, finish_reason: index === 97 ? 'stop' : null }],
      usage: { prompt_tokens: 3, completion_tokens: index },
    }));
    const bytes = Buffer.from(sse(...events));
    for (const size of [100, 1_000, 10_000, bytes.length]) {
      const scan = createUsageScan('chat', 'sse')!;
      for (let at = 0; at < bytes.length; at += size) scan.note(bytes.subarray(at, at + size));
      expect(scan.end()).toMatchObject({ tokens: { input: 3, output: 99 }, finishReason: 'stop' });
    }
  });

  it('reads the usage of megabytes of embeddings without parsing them', () => {
    const data = Array.from({ length: 2_000 }, (_, index) => ({ index, embedding: Array(64).fill(0.123456789) }));
    const text = JSON.stringify({
      object: 'list',
      data,
      model: 'e5-large',
      usage: { prompt_tokens: 8, total_tokens: 8 },
    });
    const bytes = Buffer.from(text);
    const pieces = Array.from({ length: Math.ceil(bytes.length / 16_384) }, (_, at) =>
      bytes.subarray(at * 16_384, (at + 1) * 16_384),
    );
    const scan = createUsageScan('chat', 'body')!;
    for (const piece of pieces) scan.note(piece);
    expect(scan.end()).toMatchObject({ model: 'e5-large', tokens: { input: 8 } });
  });

  const long = 'x'.repeat(200_000);
  const forged = { input_tokens: 1, output_tokens: 1, prompt_tokens: 1, completion_tokens: 1 };
  const wide: [name: string, dialect: Dialect, form: 'sse' | 'body', text: string][] = [
    [
      'an answer that is longer than what is kept of it, whose tool was called with a usage',
      'anthropic',
      'body',
      JSON.stringify({
        id: 'a',
        content: [{ text: `${long}\\"{[` }, { type: 'tool_use', input: { usage: forged } }],
        usage: { input_tokens: 9, output_tokens: 3 },
      }),
    ],
    [
      'the same with its usage at the beginning',
      'anthropic',
      'body',
      JSON.stringify({
        id: 'a',
        usage: { input_tokens: 9, output_tokens: 3 },
        content: [{ text: long }, { type: 'tool_use', input: { usage: forged } }, { text: '"\\' }],
      }),
    ],
    [
      'a long response that repeats a tool with a parameter called usage',
      'responses',
      'body',
      JSON.stringify({
        id: 'a',
        output: [{ content: [{ text: long }] }],
        tools: [{ parameters: { properties: { usage: { type: 'string' } } } }],
        usage: { input_tokens: 9, output_tokens: 3 },
        user: null,
      }),
    ],
    [
      'the last event of a response with a picture in it',
      'responses',
      'sse',
      named({
        type: 'response.completed',
        response: {
          id: 'a',
          output: [{ result: long.repeat(10) }],
          tools: [{ usage: forged }],
          usage: { input_tokens: 9, output_tokens: 3 },
        },
        sequence_number: 7,
      } as never),
    ],
    [
      'the last event of a picture',
      'chat',
      'sse',
      sse({ id: 'a', b64_json: long.repeat(10), usage: { input_tokens: 9, output_tokens: 3 } }),
    ],
    [
      'an answer that is a little longer than a part that is kept',
      'chat',
      'body',
      JSON.stringify({
        id: 'a',
        choices: [{ text: 'x'.repeat(65_490) }],
        usage: { input_tokens: 9, output_tokens: 3 },
      }),
    ],
  ];
  it.each(wide)('reads the usage of %s', (_name, dialect, form, text) => {
    const bytes = Buffer.from(text);
    for (const size of [1_000, 8_192, 16_384, 65_536, 100_000, bytes.length]) {
      const scan = createUsageScan(dialect, form)!;
      for (let at = 0; at < bytes.length; at += size) scan.note(bytes.subarray(at, at + size));
      expect(scan.end().tokens, `in pieces of ${size}`).toEqual({ input: 9, output: 3 });
    }
  });

  it('gives up a line that is too long and reads on after it', () => {
    const picture = `data: {"image":"${'A'.repeat(1_200_000)}"}\n\n`;
    const text = `${picture}${sse({ id: 'c', choices: [], usage: { prompt_tokens: 1, completion_tokens: 2 } })}`;
    const bytes = Buffer.from(text);
    const scan = createUsageScan('chat', 'sse')!;
    for (let at = 0; at < bytes.length; at += 10_000) scan.note(bytes.subarray(at, at + 10_000));
    expect(scan.end().tokens).toEqual({ input: 1, output: 2 });
  });

  it('has nothing to read in an answer of no known dialect', () => {
    expect(createUsageScan('other', 'body')).toBeUndefined();
  });
});
