import type { FunctionEvent, FunctionResponse } from '#shared/http/function.ts';

/** What a page of another site may do here; undefined where CORS is not ours but the backend's. */
export interface Cors {
  /** The answer to a preflight, which browsers send without a key; undefined for any other call. */
  preflight(event: FunctionEvent): FunctionResponse | undefined;
  /** The fields for a call's own answer. */
  fields(event: FunctionEvent): Record<string, string>;
}

const exposed = 'X-Call-Id, X-Request-ID, X-Completion-Source, Retry-After';

export function createCors(origins: readonly string[]): Cors | undefined {
  if (origins.length === 0) return undefined;
  const isAny = origins.includes('*');
  const fields = ({ headers: { origin } }: FunctionEvent): Record<string, string> => {
    if (origin === undefined || (!isAny && !origins.includes(origin))) return { Vary: 'Origin' };
    return {
      'Access-Control-Allow-Origin': isAny ? '*' : origin,
      Vary: 'Origin',
      'Access-Control-Expose-Headers': exposed,
    };
  };
  return {
    fields,
    preflight(event) {
      const { headers, method } = event;
      if (method !== 'OPTIONS' || headers['access-control-request-method'] === undefined) return undefined;
      const { 'Access-Control-Allow-Origin': origin } = fields(event);
      if (origin === undefined) return { status: 403, headers: { Vary: 'Origin' } };
      return {
        status: 204,
        headers: {
          'Access-Control-Allow-Origin': origin,
          'Access-Control-Allow-Methods': 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
          'Access-Control-Allow-Headers': headers['access-control-request-headers'] ?? 'Authorization, Content-Type',
          'Access-Control-Max-Age': '7200',
          Vary: 'Origin, Access-Control-Request-Headers',
        },
      };
    },
  };
}
