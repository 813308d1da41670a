import { type SandboxCall, sendJson } from '../server.ts';
import { countTokens, embed, findModel, type OllamaModel, toTag, writeAnswer } from './models.ts';
import { sendChunks } from './stream.ts';
import { chooseToolCall } from './tools.ts';

export interface OllamaWorld {
  /** Whose server this is: the same routes differ in small things. */
  plays: 'ollama' | 'openai' | 'anthropic';
  models: OllamaModel[];
  seed: number;
  chunkDelayMs: number;
  /** What was generated, for the ledger's state. */
  generations: { model: string; chunks: number; sent: number }[];
}

export type Fields = Record<string, unknown>;

export const version = '0.17.4';
export const fieldsOf = (value: unknown): Fields | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;

export const textOf = (content: unknown): string => {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content.map((part) => String(fieldsOf(part)?.text ?? '')).join('');
};

/** The whole conversation as one text, so that every message has a say in the answer. */
export const promptOf = (messages: unknown): string =>
  Array.isArray(messages)
    ? messages.map((message) => `${fieldsOf(message)?.role}: ${textOf(fieldsOf(message)?.content)}`).join('\n')
    : '';

const json = (res: SandboxCall['res'], status: number, value: unknown) =>
  sendJson(res, status, value, { 'Content-Type': 'application/json; charset=utf-8' });

/** Ollama's own routes; false when `path` is none of them. */
export async function handleNative(call: SandboxCall, world: OllamaWorld): Promise<boolean> {
  const { res } = call;
  const route = `${call.method} ${call.path}`;
  if (route === 'GET /' || route === 'HEAD /') {
    res.writeHead(200, { 'Content-Type': 'text/plain; charset=utf-8' });
    res.end('Ollama is running');
    return true;
  }
  if (route === 'GET /api/version' || route === 'HEAD /api/version') {
    json(res, 200, { version });
    return true;
  }
  if (route === 'GET /api/tags' || route === 'HEAD /api/tags') {
    json(res, 200, { models: world.models.map(toTag) });
    return true;
  }
  if (!['POST /api/generate', 'POST /api/chat', 'POST /api/embed'].includes(route)) return false;
  await answerPost(call, world);
  return true;
}

async function answerPost(call: SandboxCall, world: OllamaWorld) {
  const { res } = call;
  const body = fieldsOf(call.json);
  if (call.body.trim() === '') return json(res, 400, { error: 'missing request body' });
  if (body === undefined) return json(res, 400, { error: 'invalid character in request body' });
  const model = findModel(body.model, world.models);
  if (model === undefined) return json(res, 404, { error: `model '${body.model ?? ''}' not found` });
  if (call.path === '/api/embed') return sendEmbeddings(call, body);
  if (model.embeds) {
    const verb = call.path === '/api/chat' ? 'chat' : 'generate';
    return json(res, 400, { error: `"${body.model}" does not support ${verb}` });
  }
  return generate(call, body, world);
}

function sendEmbeddings({ res }: SandboxCall, body: Fields) {
  const inputs = (Array.isArray(body.input) ? body.input : [body.input ?? '']).map(String);
  const dimensions = typeof body.dimensions === 'number' ? body.dimensions : undefined;
  json(res, 200, {
    model: body.model,
    embeddings: inputs.map((input) => embed(input, dimensions)),
    total_duration: 14_143_917,
    load_duration: 1_019_500,
    prompt_eval_count: inputs.reduce((sum, input) => sum + countTokens(input), 0),
  });
}

async function generate({ path, res }: SandboxCall, body: Fields, world: OllamaWorld) {
  const chat = path === '/api/chat';
  const model = String(body.model);
  const prompt = chat ? promptOf(body.messages) : textOf(body.prompt);
  const head = () => ({ model, created_at: new Date().toISOString() });
  const part = (content: string, more = {}) =>
    chat ? { message: { role: 'assistant', content, ...more } } : { response: content };
  // An empty prompt only loads the model.
  if (prompt === '') return json(res, 200, { ...head(), ...part(''), done: true, done_reason: 'load' });

  const limit = fieldsOf(body.options)?.num_predict;
  const answer = writeAnswer(world.seed, model, prompt, typeof limit === 'number' ? limit : undefined);
  const messages = Array.isArray(body.messages) ? body.messages : [];
  const toolCall = chat ? chooseToolCall(body, prompt, fieldsOf(messages.at(-1))?.role === 'tool') : undefined;
  const call = { tool_calls: [{ function: { name: toolCall?.name, arguments: toolCall?.arguments } }] };
  const end = {
    done: true,
    done_reason: toolCall ? 'stop' : answer.reason,
    ...(chat ? {} : { context: [1, 2, 3] }),
    total_duration: 41_000_000 * (answer.pieces.length + 1),
    load_duration: 1_200_000,
    prompt_eval_count: countTokens(prompt),
    prompt_eval_duration: 9_000_000,
    eval_count: answer.pieces.length,
    eval_duration: 40_000_000 * answer.pieces.length,
  };
  const record = { model, chunks: answer.pieces.length + 1, sent: 0 };
  world.generations.push(record);
  if (body.stream === false) {
    record.sent = record.chunks;
    return json(res, 200, { ...head(), ...(toolCall ? part('', call) : part(answer.text)), ...end });
  }
  const lines = [
    ...(toolCall ? [part('', call)] : answer.pieces.map((piece) => part(piece))).map((item) => ({
      ...head(),
      ...item,
      done: false,
    })),
    { ...head(), ...part(''), ...end },
  ];
  await sendChunks(
    res,
    {
      contentType: 'application/x-ndjson',
      delayMs: world.chunkDelayMs,
      onStop: (sent) => {
        record.sent = sent;
      },
    },
    lines.map((line) => `${JSON.stringify(line)}\n`),
  );
}
