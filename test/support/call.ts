import { Readable } from 'node:stream';
import type { FunctionContext, FunctionEvent, FunctionResponse } from '#shared/http/function.ts';
import { createLogger } from '#shared/log.ts';

export interface CallOptions {
  method?: string;
  url?: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
  signal?: AbortSignal;
}

/** An event and its context as the server makes them, without a socket; `lines` collects what was logged. */
export function makeCall(options: CallOptions = {}): {
  event: FunctionEvent;
  context: FunctionContext;
  lines: string[];
} {
  const { method = 'GET', url = '/', body } = options;
  const parsed = new URL(url, 'http://function');
  const given = Object.entries(options.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value] as const);
  const length = body === undefined ? [] : [['transfer-encoding', 'chunked'] as const];
  const lines: string[] = [];
  return {
    lines,
    event: {
      method,
      url,
      path: parsed.pathname,
      query: parsed.searchParams,
      headers: Object.fromEntries([...length, ...given]),
      rawHeaders: Object.entries(options.headers ?? {}).flat(),
      body: Readable.from(body === undefined ? [] : [Buffer.from(body)]),
      trailers: () => ({}),
      remoteAddress: '127.0.0.1',
    },
    context: {
      callId: 'call-1',
      signal: options.signal ?? new AbortController().signal,
      log: createLogger({ level: 'debug', write: (line) => lines.push(line) }),
    },
  };
}

export function bodyOf(response: FunctionResponse): unknown {
  return JSON.parse(String(response.body));
}
