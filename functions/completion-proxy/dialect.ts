import type { FunctionEvent } from '#shared/http/function.ts';
import type { Problem } from '#shared/http/problem.ts';
import type { StreamForm } from './road/stream-end.ts';
import { type Dialect, dialectOf } from './routing/llm-route.ts';

const anthropicTypes: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  504: 'timeout_error',
};
const openAiTypes: Record<number, string> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  429: 'rate_limit_exceeded',
};

function toBody({ status, message, code }: Problem, callId: string, dialect: Dialect) {
  if (dialect === 'anthropic') {
    const type = anthropicTypes[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error');
    return { type: 'error', error: { type, message }, request_id: callId };
  }
  if (dialect === 'ollama') return { error: message };
  if (dialect === 'chat' || dialect === 'responses') {
    const type = openAiTypes[status] ?? (status < 500 ? 'invalid_request_error' : 'server_error');
    return { error: { message, type, param: null, code } };
  }
  return { error: message, code, call_id: callId };
}

/** Our own errors in the shape that the caller's client parses, told by the path it asked. */
export const toErrorBody = (problem: Problem, callId: string, { path }: Pick<FunctionEvent, 'path'>) =>
  toBody(problem, callId, dialectOf(path));

/** An error in the middle of a stream: the event, or the last line, that makes the caller's client fail. */
export function toErrorChunk(problem: Problem, callId: string, dialect: Dialect, form: StreamForm): string {
  const body = toBody(problem, callId, dialect);
  if (form === 'ndjson') return `${JSON.stringify(dialect === 'other' ? body : { error: problem.message })}\n`;
  if (dialect === 'responses') {
    const { code, message } = problem;
    return `event: error\ndata: ${JSON.stringify({ type: 'error', code, message, param: null })}\n\n`;
  }
  return `${dialect === 'chat' ? '' : 'event: error\n'}data: ${JSON.stringify(body)}\n\n`;
}
