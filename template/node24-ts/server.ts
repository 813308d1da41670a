import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { CreateFunction, FunctionEvent, Handler, Logger } from './function/function.ts';
import { createLogger, parseLogLevel } from './log.ts';
import { createRequestClass } from './request.ts';
import { sendError, sendResponse } from './send.ts';
import { parseGoDuration, parseServerSettings } from './settings.ts';

/** Safe in a log line and in a header. */
const safeCallId = /^[\w.:-]{1,128}$/;

const idBytes = 16;
// Random bytes are made in stock: one id at a time costs three times as much.
const randomWords = new Uint32Array(1_024);
const randomBytes = Buffer.from(randomWords.buffer);
let usedBytes = randomBytes.length;

/**
 * A UUID (version 4) that no other call has. It is no secret, as callers choose theirs, so node:crypto (5 ms to load) has
 * no part in it.
 */
function createCallId(): string {
  if (usedBytes === randomBytes.length) {
    for (let index = 0; index < randomWords.length; index += 1) randomWords[index] = Math.random() * 2 ** 32;
    usedBytes = 0;
  }
  const at = usedBytes;
  usedBytes += idBytes;
  randomBytes[at + 6] = (randomBytes[at + 6]! & 0x0f) | 0x40;
  randomBytes[at + 8] = (randomBytes[at + 8]! & 0x3f) | 0x80;
  const hex = randomBytes.toString('hex', at, usedBytes);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function readCallId({ headers }: IncomingMessage): string {
  const requestId = headers['x-request-id'];
  if (typeof requestId === 'string' && safeCallId.test(requestId)) return requestId;
  const callId = headers['x-call-id'];
  return typeof callId === 'string' && safeCallId.test(callId) ? callId : createCallId();
}

/** RFC 9112 3.2: two Host fields are an attack or a mistake. Node takes the first and says nothing. */
function hasTwoHosts({ rawHeaders }: IncomingMessage): boolean {
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!;
    if (name.length === 4 && name.toLowerCase() === 'host') count += 1;
  }
  return count > 1;
}

function toEvent(request: IncomingMessage): FunctionEvent {
  const url = request.url ?? '/';
  const queryAt = url.indexOf('?');
  return {
    method: request.method ?? 'GET',
    url,
    path: queryAt < 0 ? url : url.slice(0, queryAt),
    query: new URLSearchParams(queryAt < 0 ? '' : url.slice(queryAt + 1)),
    headers: request.headers,
    rawHeaders: request.rawHeaders,
    body: request,
    trailers: () => request.trailers,
    remoteAddress: request.socket.remoteAddress ?? '',
  };
}

type CountedRequest = InstanceType<ReturnType<typeof createRequestClass>>;

async function answer(
  handler: Handler,
  request: CountedRequest,
  response: ServerResponse,
  log: Logger,
  onClosed: () => void,
) {
  const callId = readCallId(request);
  const gone = new AbortController();
  response.once('close', () => {
    onClosed();
    if (!response.writableFinished) gone.abort();
  });
  request.watchBody((reason) => {
    if (reason === 'too-large') {
      sendError(response, 413, 'The request body is larger than this function takes', 'body_too_large', callId);
    } else {
      const { socket } = response;
      if (response.headersSent) socket?.destroy();
      // After the answer: what is left of the body is not waited for.
      else response.once('finish', () => socket?.destroy());
      sendError(response, 408, 'The rest of the request body did not come in time', 'body_too_slow', callId);
    }
    gone.abort();
  });
  // `http://other/path` is for proxies that let callers choose where a call goes: no function of ours does.
  if (!request.url?.startsWith('/')) {
    return sendError(response, 400, 'The request target must be a path', 'bad_request_target', callId);
  }
  if (hasTwoHosts(request)) {
    response.setHeader('Connection', 'close');
    return sendError(response, 400, 'The request has two Host fields', 'bad_request', callId);
  }
  const callLog = log.child({ call_id: callId });
  try {
    const result = await handler(toEvent(request), { callId, signal: gone.signal, log: callLog });
    sendResponse(request.method === 'HEAD', response, result, callLog);
  } catch (error) {
    // A caller who left, or was answered 413, is the likely cause of what failed after it.
    if (gone.signal.aborted) callLog.info('call abandoned', { error });
    else callLog.error('call failed', { error });
    sendError(response, 500, 'Internal error: the log has the details', 'internal_error', callId);
  }
}

type Closable = Pick<Server, 'close' | 'closeAllConnections'>;

/**
 * On SIGTERM the watchdog still sends calls for `healthcheck_interval`: they are served. After it, once none is in
 * flight, the server closes and the process exits 0. SIGINT does not wait for the watchdog; a second signal cuts.
 */
function stopOnSignal(server: Closable, handler: Handler, log: Logger, inFlight: () => number, graceMs: number) {
  let signals = 0;
  let closing = false;
  const finish = () => {
    if (closing) return;
    closing = true;
    server.close(async () => {
      try {
        await handler.close?.();
      } catch (error) {
        log.error('close failed', { error });
      }
      log.info('stopped');
      process.exit(0);
    });
  };
  const finishWhenIdle = () => {
    if (inFlight() === 0) return finish();
    const check = () => {
      if (inFlight() === 0) finish();
      else setTimeout(check, 20);
    };
    check();
  };
  const onSignal = (signal: NodeJS.Signals) => {
    signals += 1;
    log.info('stopping', { signal, in_flight: inFlight() });
    if (signals === 1) setTimeout(finishWhenIdle, signal === 'SIGTERM' ? graceMs : 0);
    else {
      finish();
      server.closeAllConnections();
    }
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  return () => signals > 0;
}

/**
 * Makes the function and serves it on HOST (127.0.0.1) and PORT (3000), where of-watchdog's upstream_url points.
 * Exits 1, with one log line that says why, when it cannot start or on an error that nobody caught.
 */
export async function serve(create: CreateFunction, env: NodeJS.ProcessEnv = process.env): Promise<void> {
  const log = createLogger({ level: parseLogLevel(env.LOG_LEVEL ?? '') ?? 'info' });
  const die = (message: string, fields: Record<string, unknown>) => {
    log.error(message, fields);
    // Never 0: of-watchdog takes that for a function that is well, and answers 500 for ever.
    process.exit(1);
  };
  process.on('uncaughtException', (error) => die('uncaught exception', { error }));
  process.on('unhandledRejection', (error) => die('unhandled rejection', { error }));

  try {
    const { headersMs, bodyIdleMs, maxBodyBytes, ...address } = parseServerSettings(env);
    const handler = await create(env);
    const { host, port, tls } = handler.listen ?? { ...address, tls: undefined };
    let inFlight = 0;
    let isStopping = () => false;
    const CountedRequest = createRequestClass({ maxBytes: maxBodyBytes, idleMs: bodyIdleMs });
    const options = {
      IncomingMessage: CountedRequest,
      maxHeaderSize: 64 * 1024,
      headersTimeout: headersMs,
      // How often Node looks for heads that are late.
      connectionsCheckingInterval: Math.max(100, Math.min(30_000, headersMs / 2)),
      // A long prompt may come slowly and an answer take 20 minutes: the watchdog's timeouts are the ones that count.
      requestTimeout: 0,
    };
    const onRequest = (request: IncomingMessage, response: ServerResponse) => {
      const path = request.url?.startsWith('/_/') ? request.url.split('?', 1)[0] : undefined;
      if (path === '/_/health' || path === '/_/ready') {
        const ready = path === '/_/health' || !isStopping();
        response.writeHead(ready ? 200 : 503, { 'Content-Type': 'text/plain' }).end(ready ? 'OK' : 'Stopping');
        return;
      }
      inFlight += 1;
      answer(handler, request as CountedRequest, response, log, () => {
        inFlight -= 1;
      });
    };
    const server =
      tls === undefined
        ? createServer(options, onRequest)
        : (await import('node:https')).createServer({ ...options, ...tls }, onRequest);
    // A tunnel leads past every check. Node would close without a word.
    server.on('connect', (_request, socket) => {
      socket.end('HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    });
    server.once('error', (error) => die('cannot listen', { host, port, reason: error.message }));
    server.listen(port, host, () => {
      isStopping = stopOnSignal(
        server,
        handler,
        log,
        () => inFlight,
        parseGoDuration(env.healthcheck_interval) ?? 5_000,
      );
      log.info('listening', { host, port: (server.address() as AddressInfo).port });
    });
  } catch (error) {
    // A ConfigError is for who deploys: its message names the settings, and a stack would only hide them.
    const isExpected = error instanceof Error && error.name === 'ConfigError';
    die('refused to start', { reason: isExpected ? error.message : String(error), ...(isExpected ? {} : { error }) });
  }
}
