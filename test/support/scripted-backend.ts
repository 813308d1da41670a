import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface SeenCall {
  method: string;
  url: string;
  rawHeaders: string[];
  headers: IncomingMessage['headers'];
  body: Buffer;
  /** The connection closed before the answer was whole. */
  aborted: boolean;
}

export type Act = (res: ServerResponse, call: SeenCall) => void;

export interface ScriptedBackend {
  url: string;
  calls: SeenCall[];
  /** One act a call, in order; the last one stays. */
  acts: Act[];
  close(): Promise<void>;
}

/** A server on 127.0.0.1 that does to each call what its script says. */
export async function startScriptedBackend(...acts: Act[]): Promise<ScriptedBackend> {
  const calls: SeenCall[] = [];
  const server = createServer(async (req, res) => {
    const seen: SeenCall = {
      method: req.method ?? '',
      url: req.url ?? '',
      rawHeaders: req.rawHeaders,
      headers: req.headers,
      body: Buffer.alloc(0),
      aborted: false,
    };
    res.once('close', () => {
      seen.aborted = !res.writableFinished;
    });
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of req) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    seen.body = Buffer.concat(chunks);
    calls.push(seen);
    const act = backend.acts.length > 1 ? backend.acts.shift()! : backend.acts[0]!;
    act(res, seen);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const backend: ScriptedBackend = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    acts,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return backend;
}

export const answerJson =
  (status: number, value: unknown, headers: Record<string, string> = {}): Act =>
  (res) => {
    res.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(value));
  };

/** Closes without a word. */
export const hangUp: Act = (res) => res.socket?.destroy();

/** Takes the call and says nothing. */
export const keepSilent: Act = () => {};

/** An event stream of these pieces, one write each; `after` decides how it ends. */
export const streamEvents =
  (
    pieces: string[],
    after: (res: ServerResponse) => void = (res) => res.end(),
    contentType = 'text/event-stream',
  ): Act =>
  (res) => {
    res.writeHead(200, { 'Content-Type': contentType });
    res.flushHeaders();
    const left = [...pieces];
    const next = () => {
      const piece = left.shift();
      if (piece === undefined) after(res);
      else res.write(piece, () => setImmediate(next));
    };
    next();
  };

export const cut = (res: ServerResponse) => void res.destroy();
export const stall = () => {};

export const chatChunk = (content: string, finish: string | null = null) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content }, finish_reason: finish }] })}\n\n`;
