import { Readable } from 'node:stream';
import type { Caller } from '#shared/auth/authenticate.ts';
import { UpstreamError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import { parseRetryAfterMs } from '#shared/retry.ts';
import type { Backend } from '../backends/backend.ts';
import type { Road } from '../road/road.ts';
import { type CompletionKind, completionDialects } from './dialects.ts';
import type { PromptRequest } from './prompt.ts';

export interface GenerateCall {
  caller: Caller;
  callId: string;
  signal: AbortSignal;
  log: Logger;
}

/** Gives the text of a model in pieces; one piece where no stream is asked for. */
export type Generate = (prompt: PromptRequest, call: GenerateCall) => AsyncGenerator<string, void>;

export interface GenerateOptions {
  road: Road;
  backends: readonly Backend[];
  /** The model of a call that names none, by kind. */
  modelOf: (kind: CompletionKind) => string;
}

const maxBytes = 16 * 1024 * 1024;
const unusable = () => new UpstreamError('The model', 'invalid_response', 'no completion in the answer');

const toReadable = (body: Readable | Buffer) => (Buffer.isBuffer(body) ? Readable.from([body]) : body);

function drop(body: Readable | Buffer) {
  if (!Buffer.isBuffer(body)) body.on('error', () => {}).destroy();
}

async function readAll(body: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += (chunk as Buffer).length;
    if (bytes > maxBytes) throw unusable();
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The JSON values of an event stream or of lines, as they come. */
async function* readValues(body: Readable): AsyncGenerator<unknown> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk as Buffer, { stream: true })).split(/\r?\n/);
    rest = lines.pop()!;
    if (rest.length > maxBytes) throw unusable();
    for (const line of lines) {
      const text = line.replace(/^data:\s?/, '');
      if (text.startsWith('{')) yield parse(text);
    }
  }
  if (rest.startsWith('{')) yield parse(rest);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw unusable();
  }
}

/**
 * Asks the model through the road, so that a prompt has the same retries, limits and fallback as every other call. Kinds
 * are asked in the order of their backends. Throws UpstreamError, whose detail never holds the prompt, and HttpError.
 */
export function createGenerate({ road, backends, modelOf }: GenerateOptions): Generate | undefined {
  const inOrder = backends.toSorted((a, b) => a.order - b.order).map(({ kind }) => kind);
  const usable = [...new Set(inOrder)].filter((kind) => kind !== 'plain');
  if (usable.length === 0) return undefined;

  async function* ask(kind: CompletionKind, prompt: PromptRequest, call: GenerateCall): AsyncGenerator<string, void> {
    const { path, headers, toBody, readText, readError } = completionDialects[kind];
    const stream = prompt.stream === true;
    const body = Buffer.from(JSON.stringify(toBody(prompt, prompt.model ?? modelOf(kind), stream)));
    const fields = { 'content-type': 'application/json', ...headers };
    const answer = await road({
      ...call,
      method: 'POST',
      target: path,
      path,
      headers: fields,
      rawHeaders: Object.entries(fields).flat(),
      body: Readable.from([body]),
      hasBody: true,
      onlyKind: kind,
    });
    if (answer.status !== 200) {
      drop(answer.takeBody());
      const at = answer.rawHeaders.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === 'retry-after');
      const retryAfterMs = at < 0 ? undefined : parseRetryAfterMs(answer.rawHeaders[at + 1]);
      // A server's message may quote the prompt, and details are logged.
      throw new UpstreamError('The model', 'status', 'no usable answer', { status: answer.status, retryAfterMs });
    }
    if (!stream) {
      const text = readText(parse(await readAll(toReadable(answer.takeBody()))));
      if (text === undefined) throw unusable();
      yield text;
      return;
    }
    for await (const value of readValues(toReadable(answer.takeBody()))) {
      if (readError(value) !== undefined) throw new UpstreamError('The model', 'status', 'an error inside the stream');
      const text = readText(value);
      if (text !== undefined && text !== '') yield text;
    }
  }

  return async function* generate(prompt, call) {
    for (const [index, kind] of usable.entries()) {
      let begun = false;
      try {
        for await (const text of ask(kind, prompt, call)) {
          begun = true;
          yield text;
        }
        return;
      } catch (error) {
        // Half an answer cannot be taken back; and the last kind has the last word.
        if (begun || call.signal.aborted || index === usable.length - 1) throw error;
      }
    }
  };
}
