import { type SandboxCall, sendJson } from '../server.ts';
import { countTokens, digestOf, findModel, writeAnswer } from './models.ts';
import { type Fields, fieldsOf, type OllamaWorld, promptOf, textOf } from './native.ts';
import { sendChunks } from './stream.ts';
import { chooseToolCall, inPieces, type ToolCall } from './tools.ts';

const errorTypes: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  404: 'not_found_error',
};

export function refuseAnthropic({ res }: SandboxCall, status: number, message: string) {
  const requestId = `req_${digestOf(message).slice(0, 24)}`;
  const error = { type: errorTypes[status] ?? 'api_error', message };
  sendJson(res, status, { type: 'error', error, request_id: requestId }, { 'request-id': requestId });
}

/** A tool's result comes back as a block in the caller's message. */
function endsWithResult(messages: unknown): boolean {
  const content = Array.isArray(messages) ? fieldsOf(messages.at(-1))?.content : undefined;
  return Array.isArray(content) && content.some((block) => fieldsOf(block)?.type === 'tool_result');
}

/** Anthropic's messages, as Ollama has them too; false when `path` is none of its routes. */
export async function handleAnthropic(call: SandboxCall, world: OllamaWorld): Promise<boolean> {
  const counts = call.path === '/v1/messages/count_tokens' && world.plays === 'anthropic';
  if (call.method !== 'POST' || !(call.path === '/v1/messages' || counts)) return false;
  const body = fieldsOf(call.json);
  if (body === undefined) refuseAnthropic(call, 400, 'invalid JSON in request body');
  else if (!(Array.isArray(body.messages) && body.messages.length > 0)) {
    refuseAnthropic(call, 400, 'messages: at least one message is required');
  } else if (findModel(body.model, world.models) === undefined) {
    refuseAnthropic(call, 404, `model: ${body.model ?? ''}`);
  } else if (counts) sendJson(call.res, 200, { input_tokens: countTokens(promptOf(body.messages)) });
  else if (typeof body.max_tokens !== 'number') refuseAnthropic(call, 400, 'max_tokens: Field required');
  else await answer(call, body, world, body.max_tokens);
  return true;
}

async function answer(call: SandboxCall, body: Fields, world: OllamaWorld, limit: number) {
  const model = String(body.model);
  const prompt = `${textOf(body.system)}\n${promptOf(body.messages)}`;
  const toolCall = chooseToolCall(body, prompt, endsWithResult(body.messages), 'toolu_');
  const written = writeAnswer(world.seed, model, prompt, limit);
  const inputTokens = countTokens(prompt);
  const outputTokens = toolCall ? countTokens(JSON.stringify(toolCall)) : written.pieces.length;
  const stopReason = toolCall ? 'tool_use' : written.reason === 'length' ? 'max_tokens' : 'end_turn';
  const cache = { cache_creation_input_tokens: 0, cache_read_input_tokens: 0 };
  const head = { id: `msg_${digestOf(prompt).slice(0, 24)}`, type: 'message', role: 'assistant', model };
  const requestId = { 'request-id': `req_${digestOf(prompt).slice(0, 24)}` };
  const record = { model, chunks: 1, sent: 1 };
  world.generations.push(record);
  if (body.stream !== true) {
    const block = toolCall
      ? { type: 'tool_use', id: toolCall.id, name: toolCall.name, input: toolCall.arguments }
      : { type: 'text', text: written.text };
    const usage = { input_tokens: inputTokens, ...cache, output_tokens: outputTokens };
    return sendJson(
      call.res,
      200,
      { ...head, content: [block], stop_reason: stopReason, stop_sequence: null, usage },
      requestId,
    );
  }
  const start = { input_tokens: inputTokens, ...cache, output_tokens: 1 };
  const events: Fields[] = [
    { type: 'message_start', message: { ...head, content: [], stop_reason: null, stop_sequence: null, usage: start } },
    ...blockEvents(written.pieces, toolCall),
    {
      type: 'message_delta',
      delta: { stop_reason: stopReason, stop_sequence: null },
      usage: { output_tokens: outputTokens },
    },
    { type: 'message_stop' },
  ];
  events.splice(2, 0, { type: 'ping' });
  record.chunks = events.length;
  await sendChunks(
    call.res,
    {
      contentType: 'text/event-stream; charset=utf-8',
      delayMs: world.chunkDelayMs,
      headers: requestId,
      onStop: (sent) => {
        record.sent = sent;
      },
    },
    events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`),
  );
}

function blockEvents(pieces: string[], toolCall: ToolCall | undefined): Fields[] {
  const block = toolCall
    ? { type: 'tool_use', id: toolCall.id, name: toolCall.name, input: {} }
    : { type: 'text', text: '' };
  const deltas = toolCall
    ? inPieces(JSON.stringify(toolCall.arguments)).map((part) => ({ type: 'input_json_delta', partial_json: part }))
    : pieces.map((text) => ({ type: 'text_delta', text }));
  return [
    { type: 'content_block_start', index: 0, content_block: block },
    ...deltas.map((delta) => ({ type: 'content_block_delta', index: 0, delta })),
    { type: 'content_block_stop', index: 0 },
  ];
}
