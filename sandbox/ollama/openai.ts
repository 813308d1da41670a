import { type SandboxCall, sendJson } from '../server.ts';
import { countTokens, digestOf, embed, findModel, writeAnswer } from './models.ts';
import { type Fields, fieldsOf, type OllamaWorld, promptOf, textOf } from './native.ts';
import { sendChunks } from './stream.ts';
import { chooseToolCall, inPieces, type ToolCall } from './tools.ts';

const errorTypes: Record<number, string> = { 400: 'invalid_request_error', 404: 'not_found_error' };

export function refuseOpenAi({ res }: SandboxCall, status: number, message: string) {
  sendJson(res, status, { error: { message, type: errorTypes[status] ?? 'api_error', param: null, code: null } });
}

/** OpenAI's own words differ from Ollama's. */
function refuseModel(call: SandboxCall, model: unknown, world: OllamaWorld) {
  if (world.plays === 'ollama') return refuseOpenAi(call, 404, `model '${model ?? ''}' not found`);
  const message = `The model \`${model}\` does not exist or you do not have access to it.`;
  const error = { message, type: 'invalid_request_error', param: null, code: 'model_not_found' };
  return sendJson(call.res, 404, { error });
}

/** Ollama's OpenAI-compatible routes; false when `path` is none of them. */
export async function handleOpenAi(call: SandboxCall, world: OllamaWorld): Promise<boolean> {
  const route = `${call.method} ${call.path}`;
  if (route === 'GET /v1/models') {
    sendJson(call.res, 200, { object: 'list', data: world.models.map(({ name }) => toModel(name)) });
    return true;
  }
  if (call.method === 'GET' && call.path.startsWith('/v1/models/')) {
    const name = decodeURIComponent(call.path.slice('/v1/models/'.length));
    if (findModel(name, world.models) === undefined) refuseModel(call, name, world);
    else sendJson(call.res, 200, toModel(name));
    return true;
  }
  if (!['POST /v1/chat/completions', 'POST /v1/completions', 'POST /v1/embeddings'].includes(route)) return false;
  await answerPost(call, world);
  return true;
}

async function answerPost(call: SandboxCall, world: OllamaWorld) {
  const body = fieldsOf(call.json);
  if (body === undefined) return refuseOpenAi(call, 400, 'invalid JSON in request body');
  const chat = call.path === '/v1/chat/completions';
  if (chat && !(Array.isArray(body.messages) && body.messages.length > 0)) {
    return refuseOpenAi(call, 400, "[] is too short - 'messages'");
  }
  if (findModel(body.model, world.models) === undefined) return refuseModel(call, body.model, world);
  if (call.path === '/v1/embeddings') return sendEmbeddings(call, body);
  return complete(call, body, chat, world);
}

const toModel = (name: string) => ({ id: name, object: 'model', created: 1_767_225_600, owned_by: 'library' });

function sendEmbeddings(call: SandboxCall, body: Fields) {
  const inputs = (Array.isArray(body.input) ? body.input : [body.input ?? '']).map(String);
  if (inputs.every((input) => input === '')) return refuseOpenAi(call, 400, 'invalid input');
  const dimensions = typeof body.dimensions === 'number' ? body.dimensions : undefined;
  const encode = (vector: number[]) =>
    body.encoding_format === 'base64' ? Buffer.from(new Float32Array(vector).buffer).toString('base64') : vector;
  const tokens = inputs.reduce((sum, input) => sum + countTokens(input), 0);
  sendJson(call.res, 200, {
    object: 'list',
    data: inputs.map((input, index) => ({ object: 'embedding', embedding: encode(embed(input, dimensions)), index })),
    model: body.model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  });
}

async function complete({ res }: SandboxCall, body: Fields, chat: boolean, world: OllamaWorld) {
  const model = String(body.model);
  const prompt = chat ? promptOf(body.messages) : textOf(body.prompt);
  const limit = body.max_completion_tokens ?? body.max_tokens;
  const answer = writeAnswer(world.seed, model, prompt, typeof limit === 'number' ? limit : undefined);
  const messages = Array.isArray(body.messages) ? body.messages : [];
  const toolCall = chat ? chooseToolCall(body, prompt, fieldsOf(messages.at(-1))?.role === 'tool') : undefined;
  const spent = toolCall ? countTokens(JSON.stringify(toolCall)) : answer.pieces.length;
  const usage = {
    prompt_tokens: countTokens(prompt),
    completion_tokens: spent,
    total_tokens: countTokens(prompt) + spent,
  };
  const reason = toolCall ? 'tool_calls' : answer.reason;
  const head = {
    id: `${chat ? 'chatcmpl' : 'cmpl'}-${Number.parseInt(digestOf(prompt).slice(0, 6), 16) % 1000}`,
    created: Math.floor(Date.now() / 1000),
    model,
    system_fingerprint: 'fp_ollama',
  };
  const record = { model, chunks: answer.pieces.length, sent: answer.pieces.length };
  world.generations.push(record);
  if (body.stream !== true) {
    const message = toolCall ? { content: null, tool_calls: [toWire(toolCall)] } : { content: answer.text };
    const choice = chat ? { message: { role: 'assistant', ...message } } : { text: answer.text };
    return sendJson(res, 200, {
      ...head,
      object: chat ? 'chat.completion' : 'text_completion',
      choices: [{ index: 0, ...choice, finish_reason: reason }],
      usage,
    });
  }

  const includeUsage = fieldsOf(body.stream_options)?.include_usage === true;
  // Ollama fills the field with zeros on a text completion's chunks, where OpenAI has null.
  const noUsage = chat || world.plays !== 'ollama' ? null : { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 };
  const chunk = (choices: Fields[], value: unknown = noUsage) => ({
    ...head,
    object: chat ? 'chat.completion.chunk' : 'text_completion',
    choices,
    ...(includeUsage ? { usage: value } : {}),
  });
  const delta = (content: string) => (chat ? { delta: { role: 'assistant', content } } : { text: content });
  const chunks = [
    ...(toolCall ? callDeltas(toolCall) : answer.pieces.map(delta)).map((item) =>
      chunk([{ index: 0, ...item, finish_reason: null }]),
    ),
    chunk([{ index: 0, ...delta(''), finish_reason: reason }]),
    ...(includeUsage ? [chunk([], usage)] : []),
  ];
  const events = [...chunks.map((item) => JSON.stringify(item)), '[DONE]'].map((item) => `data: ${item}\n\n`);
  record.chunks = events.length;
  await sendChunks(
    res,
    {
      contentType: 'text/event-stream',
      delayMs: world.chunkDelayMs,
      onStop: (sent) => {
        record.sent = sent;
      },
    },
    events,
  );
}

const toWire = ({ id, name, arguments: values }: ToolCall) => ({
  id,
  type: 'function',
  function: { name, arguments: JSON.stringify(values) },
});

/** The name first, then the arguments in pieces that a client has to put together. */
function callDeltas(call: ToolCall): Fields[] {
  const { id, name } = call;
  const toDelta = (item: Fields, more = {}) => ({ delta: { ...more, tool_calls: [{ index: 0, ...item }] } });
  return [
    toDelta({ id, type: 'function', function: { name, arguments: '' } }, { role: 'assistant', content: null }),
    ...inPieces(JSON.stringify(call.arguments)).map((part) => toDelta({ function: { arguments: part } })),
  ];
}
