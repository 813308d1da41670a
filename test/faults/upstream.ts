import { createServer, type Socket } from 'node:net';

export interface FaultRequest {
  path: string;
  body: string;
  /** When it was whole, in ms of performance.now(). */
  at: number;
}

/** Answers one request with bytes of its own choice; `attempt` counts from 1. */
export type Script = (socket: Socket, request: FaultRequest, attempt: number) => void | Promise<void>;

export interface FaultUpstream {
  url: string;
  /** Requests of callers; the health checks are answered and not counted. */
  requests: FaultRequest[];
  /** Connections that are open now. */
  open: Set<Socket>;
  play(script: Script): void;
  close(): Promise<void>;
}

const healthy = '{"object":"list","data":[]}';

/** Between requests nothing may be half read: the bodies that come have a length or are in chunks. */
function takeRequest(buffer: Buffer): { request: FaultRequest; rest: Buffer } | undefined {
  const headEnd = buffer.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const head = buffer.toString('latin1', 0, headEnd);
  const path = head.split(' ', 2)[1] ?? '/';
  let end = headEnd + 4;
  if (/\r\ntransfer-encoding: *chunked/i.test(head)) {
    const last = buffer.indexOf('0\r\n\r\n', end);
    if (last < 0) return undefined;
    end = last + 5;
  } else end += Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
  if (buffer.length < end) return undefined;
  const body = buffer.toString('utf8', headEnd + 4, end);
  return { request: { path, body, at: performance.now() }, rest: buffer.subarray(end) };
}

/** A server of bytes, so that an answer can be wrong in every way; 127.0.0.1, any port. */
export async function startFaultUpstream(): Promise<FaultUpstream> {
  let script: Script = (socket) => answerJson(socket, 500, {});
  const requests: FaultRequest[] = [];
  const open = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => {});
    let buffer: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      buffer = Buffer.concat([buffer, chunk]);
      for (let taken = takeRequest(buffer); taken !== undefined; taken = takeRequest(buffer)) {
        buffer = taken.rest;
        if (taken.request.path === '/v1/models') socket.write(head(200, `Content-Length: ${healthy.length}`) + healthy);
        else {
          requests.push(taken.request);
          void script(socket, taken.request, requests.length);
        }
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    requests,
    open,
    play(next) {
      script = next;
      requests.length = 0;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

const head = (status: number, ...fields: string[]) =>
  `HTTP/1.1 ${status} Status\r\nContent-Type: application/json\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`;

export function answerJson(socket: Socket, status: number, value: unknown, ...fields: string[]): void {
  const body = JSON.stringify(value);
  socket.write(head(status, `Content-Length: ${Buffer.byteLength(body)}`, ...fields) + body);
}

export const openAiError = (message: string, code: string) => ({
  error: { message, type: 'invalid_request_error', param: null, code },
});

/** The head of an event stream, in chunks. */
export const startEvents = (socket: Socket) =>
  socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');

export function sendEvent(socket: Socket, text: string): void {
  socket.write(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
}

export const endEvents = (socket: Socket) => socket.write('0\r\n\r\n');

/** The sixty words of the whole answer. */
export const words = Array.from({ length: 60 }, (_, index) => `word${index} `);

const chunkOf = (model: string, fields: object) =>
  `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model, ...fields })}\n\n`;

export const wordEvent = (model: string, index: number) =>
  chunkOf(model, { choices: [{ index: 0, delta: { content: words[index] }, finish_reason: null }] });

export const finishEvents = (model: string) => [
  chunkOf(model, { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }),
  chunkOf(model, { choices: [], usage: { prompt_tokens: 20, completion_tokens: 60, total_tokens: 80 } }),
];

/** Words `from` to `to` of the answer, one event each. */
export function sendWords(socket: Socket, model: string, from = 0, to = words.length): void {
  for (let index = from; index < to; index++) sendEvent(socket, wordEvent(model, index));
}

/** A whole and faultless answer, streamed where the request asks for it. */
export function answerWell(socket: Socket, { body }: FaultRequest, model: string): void {
  if (!/"stream":\s*true/.test(body)) {
    const choices = [{ index: 0, message: { role: 'assistant', content: words.join('') }, finish_reason: 'stop' }];
    const usage = { prompt_tokens: 20, completion_tokens: 60, total_tokens: 80 };
    answerJson(socket, 200, { id: 'chatcmpl-1', object: 'chat.completion', created: 1, model, choices, usage });
    return;
  }
  startEvents(socket);
  sendWords(socket, model);
  for (const event of [...finishEvents(model), 'data: [DONE]\n\n']) sendEvent(socket, event);
  endEvents(socket);
}
