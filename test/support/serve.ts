import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import type { FunctionResponse, Handler } from '#shared/http/function.ts';
import { createLogger } from '#shared/log.ts';

const toRaw = (headers: FunctionResponse['headers'] = {}): string[] =>
  Array.isArray(headers)
    ? headers.flat()
    : Object.entries(headers).flatMap(([name, value]) => [value ?? []].flat().flatMap((item) => [name, String(item)]));

/** A handler behind a real socket on 127.0.0.1, with chunks, back-pressure, cuts and aborts as the template has them. */
export async function serveHandler(handler: Handler) {
  const lines: string[] = [];
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
        log: createLogger({ level: 'debug', write: (line) => lines.push(line) }),
      },
    );
    const { status, body } = answer;
    if (res.destroyed) return body instanceof Readable && body.on('error', () => {}).destroy();
    res.writeHead(status, toRaw(answer.headers));
    if (!(body instanceof Readable)) return res.end(body);
    // flushHeaders() writes the head as UTF-8, and would spell other bytes twice.
    if (!/[\u0080-\u00ff]/.test(toRaw(answer.headers).join())) res.flushHeaders();
    body.on('data', (chunk) => res.write(chunk) || body.pause());
    res.on('drain', () => body.resume());
    body.once('end', () => res.end());
    body.on('error', () => res.destroy());
    res.once('close', () => body.destroy());
    return undefined;
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
