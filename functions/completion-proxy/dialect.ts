import type { FunctionEvent } from '#shared/http/function.ts';
import type { Problem } from '#shared/http/problem.ts';

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

/** Our own errors in the shape that the caller's client parses, told by the path it asked. */
export function toErrorBody({ status, message, code }: Problem, callId: string, { path }: Pick<FunctionEvent, 'path'>) {
  if (/^\/v1\/messages(\/|$)/.test(path)) {
    const type = anthropicTypes[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error');
    return { type: 'error', error: { type, message }, request_id: callId };
  }
  if (path.startsWith('/api/')) return { error: message };
  if (path.startsWith('/v1/')) {
    const type = openAiTypes[status] ?? (status < 500 ? 'invalid_request_error' : 'server_error');
    return { error: { message, type, param: null, code } };
  }
  return { error: message, code, call_id: callId };
}
