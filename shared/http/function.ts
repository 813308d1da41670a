import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';

export interface Logger {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
  child(fields: Record<string, unknown>): Logger;
}

/** One call. `body` is the raw stream: read it once, or pass it on. Behind OpenFaaS it never has a Content-Length. */
export interface FunctionEvent {
  method: string;
  /** The request target as it was sent. `path` and `query` are parsed and lose bytes (`a%20b`): a pass-through uses this. */
  url: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  /** Name, value, name, value: spelling, order and repeated fields as they were sent. */
  rawHeaders: string[];
  body: Readable;
  /** Complete once `body` has ended. */
  trailers(): NodeJS.Dict<string>;
  /** The peer's address: the watchdog's behind OpenFaaS, where `X-Forwarded-For` names the caller and can be forged. */
  remoteAddress: string;
}

export interface FunctionContext {
  /** `X-Request-ID`, else `X-Call-Id`, else made here; safe to log and to send on. */
  callId: string;
  /** Aborts when the caller is gone. Hand it to every call that you make. */
  signal: AbortSignal;
  log: Logger;
}

export interface FunctionResponse {
  status: number;
  headers?: OutgoingHttpHeaders | [name: string, value: string][];
  /** A stream is sent chunk by chunk; one that fails ends the connection, so that nobody takes a part for the whole. */
  body?: string | Uint8Array | Readable;
  /** Sent after a streamed body to a caller on HTTP/1.1 (OpenFaaS drops them). */
  trailers?: () => Record<string, string>;
}

export interface Handler {
  (event: FunctionEvent, context: FunctionContext): Promise<FunctionResponse>;
  /** Called once after SIGTERM, when the last call has ended and before the process exits. */
  close?(): Promise<void>;
  /** Where to listen in place of HOST and PORT, for a function that also runs without OpenFaaS; `tls` is PEM. */
  listen?: { host: string; port: number; tls?: { key: string; cert: string } };
}

/** What a function's index.ts exports as its default. Throw here to refuse to start; the message is logged as it is. */
export type CreateFunction = (env: NodeJS.ProcessEnv) => Handler | Promise<Handler>;
