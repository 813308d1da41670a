import { type SandboxCall, sendJson } from '../server.ts';
import { countTokens, digestOf, findModel, writeAnswer } from './models.ts';
import { type Fields, fieldsOf, type OllamaWorld, promptOf, textOf } from './native.ts';
import { refuseOpenAi } from './openai.ts';
import { sendChunks } from './stream.ts';
import { chooseToolCall, inPieces } from './tools.ts';

/** `POST /v1/responses`, stateless as Ollama has it; false for any other route. */
export async function handleResponses(call: SandboxCall, world: OllamaWorld): Promise<boolean> {
  if (call.method !== 'POST' || call.path !== '/v1/responses') return false;
  const body = fieldsOf(call.json);
  if (body === undefined) refuseOpenAi(call, 400, 'invalid JSON in request body');
  else if (findModel(body.model, world.models) === undefined) {
    refuseOpenAi(call, 404, `model '${body.model ?? ''}' not found`);
  } else await answer(call, body, world);
  return true;
}

async function answer({ res }: SandboxCall, body: Fields, world: OllamaWorld) {
  const { input } = body;
  const model = String(body.model);
  const prompt = `${textOf(body.instructions)}\n${Array.isArray(input) ? promptOf(input) : textOf(input)}`;
  const lastType = Array.isArray(input) ? fieldsOf(input.at(-1))?.type : undefined;
  const toolCall = chooseToolCall(body, prompt, lastType === 'function_call_output');
  const limit = typeof body.max_output_tokens === 'number' ? body.max_output_tokens : undefined;
  const written = writeAnswer(world.seed, model, prompt, limit);
  const id = digestOf(prompt).slice(0, 24);
  const json = toolCall ? JSON.stringify(toolCall.arguments) : '';
  const part = (text: string) => ({ type: 'output_text', text, annotations: [], logprobs: [] });
  const item = (status: string, full: boolean): Fields =>
    toolCall
      ? {
          id: `fc_${id}`,
          type: 'function_call',
          status,
          call_id: toolCall.id,
          name: toolCall.name,
          arguments: full ? json : '',
        }
      : { id: `msg_${id}`, type: 'message', status, role: 'assistant', content: full ? [part(written.text)] : [] };
  const cut = toolCall === undefined && written.reason === 'length';
  const inputTokens = countTokens(prompt);
  const outputTokens = toolCall ? countTokens(json) : written.pieces.length;
  const response = (status: string): Fields => ({
    id: `resp_${id}`,
    object: 'response',
    created_at: Math.floor(Date.now() / 1000),
    status,
    error: null,
    incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    instructions: body.instructions ?? null,
    model,
    output: status === 'in_progress' ? [] : [item('completed', true)],
    parallel_tool_calls: true,
    tool_choice: body.tool_choice ?? 'auto',
    tools: body.tools ?? [],
    usage:
      status === 'in_progress'
        ? null
        : {
            input_tokens: inputTokens,
            input_tokens_details: { cached_tokens: 0 },
            output_tokens: outputTokens,
            output_tokens_details: { reasoning_tokens: 0 },
            total_tokens: inputTokens + outputTokens,
          },
  });
  const end = cut ? 'incomplete' : 'completed';
  const record = { model, chunks: 1, sent: 1 };
  world.generations.push(record);
  if (body.stream !== true) return sendJson(res, 200, response(end));

  const at = { item_id: toolCall ? `fc_${id}` : `msg_${id}`, output_index: 0 };
  const inside = { ...at, content_index: 0 };
  const middle: Fields[] = toolCall
    ? [
        ...inPieces(json).map((delta) => ({ type: 'response.function_call_arguments.delta', ...at, delta })),
        { type: 'response.function_call_arguments.done', ...at, name: toolCall.name, arguments: json },
      ]
    : [
        { type: 'response.content_part.added', ...inside, part: part('') },
        ...written.pieces.map((delta) => ({ type: 'response.output_text.delta', ...inside, delta, logprobs: [] })),
        { type: 'response.output_text.done', ...inside, text: written.text, logprobs: [] },
        { type: 'response.content_part.done', ...inside, part: part(written.text) },
      ];
  const events: Fields[] = [
    { type: 'response.created', response: response('in_progress') },
    { type: 'response.in_progress', response: response('in_progress') },
    { type: 'response.output_item.added', output_index: 0, item: item('in_progress', false) },
    ...middle,
    { type: 'response.output_item.done', output_index: 0, item: item('completed', true) },
    { type: `response.${end}`, response: response(end) },
  ];
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
    events.map(({ type, ...rest }, index) => {
      return `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: index, ...rest })}\n\n`;
    }),
  );
}
