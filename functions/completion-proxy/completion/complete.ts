import { Readable } from 'node:stream';
import { HttpError, UpstreamError } from '#shared/errors.ts';
import type { CallContext } from '#shared/http/define.ts';
import type { FunctionEvent, FunctionResponse } from '#shared/http/function.ts';
import { toProblem } from '#shared/http/problem.ts';
import { json } from '#shared/http/respond.ts';
import { type Journal, originOf } from '../journal.ts';
import { alterPrompt } from './altered-prompt.ts';
import type { Generate, GenerateCall } from './generate.ts';
import { type PromptRequest, readPrompt } from './prompt.ts';

export interface CompletionParts {
  generate: Generate | undefined;
  journal: Journal;
  fallback: boolean;
  timeoutMs: number;
  now: () => Date;
  clock: () => number;
}

interface Pieces {
  texts: AsyncGenerator<string, void>;
  first: IteratorResult<string, void>;
}

const noModel = () =>
  new HttpError(502, 'No model is configured: set BACKENDS, BACKEND_KIND or OLLAMA_URL', { code: 'no_model' });

/** Waits for the first piece: until then, a failure can still become a status or the fallback. */
async function begin(generate: Generate, prompt: PromptRequest, call: GenerateCall): Promise<Pieces> {
  const texts = generate(prompt, call);
  return { texts, first: await texts.next() };
}

/** `POST /completion`: the model's answer, else the altered prompt marked `X-Completion-Source: fallback`. */
export async function complete(
  event: FunctionEvent,
  context: CallContext,
  parts: CompletionParts,
): Promise<FunctionResponse> {
  const { generate, journal, clock } = parts;
  const { callId, caller, log } = context;
  const origin = originOf(event);
  const startedAt = clock();
  const prompt = await readPrompt(event);
  const mayFallBack = prompt.fallback ?? parts.fallback;
  const deadline = AbortSignal.timeout(Math.min(prompt.deadline_ms ?? parts.timeoutMs, parts.timeoutMs));
  const signal = AbortSignal.any([context.signal, deadline]);
  const form = prompt.stream === true ? formOf(event) : undefined;
  const onTime = (error: unknown) =>
    deadline.aborted ? new UpstreamError('The model', 'timeout', 'the deadline of the call passed') : error;
  const remember = (completion: string) => {
    const latency = Math.round(clock() - startedAt);
    journal.remember({
      timestamp: parts.now().toISOString(),
      origin,
      latency,
      prompt: prompt.prompt,
      completion,
      request_id: callId,
    });
  };
  try {
    if (generate !== undefined) {
      const pieces = await begin(generate, prompt, { callId, caller, signal, log });
      if (form !== undefined) return stream(form, pieces, { onTime, remember });
      let completion = pieces.first.done === true ? '' : pieces.first.value;
      for await (const text of pieces.texts) completion += text;
      remember(completion);
      return json(200, { completion });
    }
  } catch (thrown) {
    const error = onTime(thrown);
    const isOurs = error instanceof HttpError && error.status < 500 && error.status !== 429;
    if (context.signal.aborted || isOurs || !mayFallBack) throw error;
    const failure = error instanceof UpstreamError ? `${error.failure} ${error.status ?? ''}` : toProblem(error).code;
    journal.log('ERROR', origin, callId, `Error while forwarding to the LLM: ${failure}`);
    log.warn('the model failed: answering the altered prompt', { failure });
  }
  if (!mayFallBack) throw noModel();
  const completion = alterPrompt(prompt.prompt);
  if (form === undefined) return json(200, { completion }, { 'X-Completion-Source': 'fallback' });
  return {
    ...toStream(form, [form.piece(completion), form.end]),
    headers: { ...form.headers, 'X-Completion-Source': 'fallback' },
  };
}

interface Form {
  headers: Record<string, string>;
  piece(text: string): string;
  error(message: string, code: string): string;
  end: string;
}

const eventStream: Form = {
  headers: {
    'Content-Type': 'text/event-stream; charset=utf-8',
    'Cache-Control': 'no-cache',
    'X-Accel-Buffering': 'no',
  },
  piece: (completion) => `data: ${JSON.stringify({ completion })}\n\n`,
  error: (error, code) => `event: error\ndata: ${JSON.stringify({ error, code })}\n\n`,
  end: 'data: [DONE]\n\n',
};
const lines: Form = {
  headers: { 'Content-Type': 'application/x-ndjson', 'X-Accel-Buffering': 'no' },
  piece: (completion) => `${JSON.stringify({ completion, done: false })}\n`,
  error: (error, code) => `${JSON.stringify({ error, code })}\n`,
  end: '{"completion":"","done":true}\n',
};

/** Lines for who accepts nothing but them; events otherwise. */
const formOf = ({ headers }: FunctionEvent): Form => {
  const accept = headers.accept ?? '';
  return accept.includes('application/x-ndjson') && !accept.includes('text/event-stream') ? lines : eventStream;
};

const toStream = (form: Form, texts: AsyncIterable<string> | Iterable<string>): FunctionResponse => ({
  status: 200,
  headers: form.headers,
  body: Readable.from(texts),
});

function stream(
  form: Form,
  { texts, first }: Pieces,
  { onTime, remember }: { onTime: (error: unknown) => unknown; remember: (completion: string) => void },
): FunctionResponse {
  async function* write() {
    let completion = '';
    try {
      for (let next = first; next.done !== true; next = await texts.next()) {
        completion += next.value;
        yield form.piece(next.value);
      }
      remember(completion);
      yield form.end;
    } catch (error) {
      const { message, code } = toProblem(onTime(error));
      yield form.error(message, code);
    } finally {
      await texts.return();
    }
  }
  return toStream(form, write());
}
