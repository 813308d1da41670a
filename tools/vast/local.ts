import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import type { FunctionEvent, Handler, Logger } from '../../shared/http/function.ts';
import { createLogger } from '../../shared/log.ts';
import { sendResponse } from '../../template/node24-ts/send.ts';

/** A handler on a port of this machine that nobody else is told, for programs that import it. */
export async function openLocal(handler: Handler, log: Logger = createLogger({ level: 'warn' }), port = 0) {
  const server = createServer(async (request, response) => {
    const gone = new AbortController();
    response.once('close', () => response.writableFinished || gone.abort());
    const { url = '/', method = 'GET', headers, rawHeaders } = request;
    const [path = '/', search = ''] = url.split('?', 2);
    const event: FunctionEvent = {
      method,
      url,
      path,
      query: new URLSearchParams(search),
      headers,
      rawHeaders,
      body: request,
      trailers: () => request.trailers,
      remoteAddress: '127.0.0.1',
    };
    const answer = await handler(event, { callId: crypto.randomUUID(), signal: gone.signal, log });
    if (response.destroyed)
      return void (answer.body instanceof Readable && answer.body.on('error', () => {}).destroy());
    return sendResponse(method === 'HEAD', response, answer, log);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    /** For SDKs that take a base URL. */
    baseUrl,
    fetch: (path: string, init?: RequestInit) => fetch(baseUrl + path, init),
    async close(): Promise<void> {
      server.close();
      server.closeAllConnections();
      await handler.close?.();
    },
  };
}
