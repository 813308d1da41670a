import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Handler } from '#shared/http/function.ts';
import { createLogger } from '#shared/log.ts';
import { sendResponse } from '../../template/node24-ts/send.ts';

/** A handler behind a real socket on 127.0.0.1; its answers are sent by the template's own hand. */
export async function serveHandler(handler: Handler) {
  const lines: string[] = [];
  const log = createLogger({ level: 'debug', write: (line) => lines.push(line) });
  const server = createServer(async (req, res) => {
    const url = req.url ?? '/';
    const [path = '/', search = ''] = url.split('?', 2);
    const gone = new AbortController();
    res.once('close', () => res.writableFinished || gone.abort());
    const answer = await handler(
      {
        method: req.method ?? 'GET',
        url,
        path,
        query: new URLSearchParams(search),
        headers: req.headers,
        rawHeaders: req.rawHeaders,
        body: req,
        trailers: () => req.trailers,
        remoteAddress: req.socket.remoteAddress ?? '',
      },
      {
        callId: String(req.headers['x-request-id'] ?? randomUUID()),
        signal: gone.signal,
        log,
      },
    );
    sendResponse(req.method === 'HEAD', res, answer, log);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** What was logged. */
    lines,
    async close() {
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      await handler.close?.();
    },
  };
}
