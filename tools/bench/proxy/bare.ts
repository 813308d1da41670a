import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Dispatcher, Pool } from 'undici';

/** The least that passes a call on: what any proxy on Node costs before it does anything. Prints its port. */
const pool = new Pool(process.argv[2]!, { headersTimeout: 0, bodyTimeout: 0, pipelining: 1 });
const server = createServer((req, res) => {
  const { method, url, rawHeaders } = req;
  const headers = rawHeaders.filter(
    (_, index) => !/^(host|connection|transfer-encoding)$/i.test(rawHeaders[index & ~1]!),
  );
  let upstream: Dispatcher.DispatchController;
  res.on('drain', () => upstream.resume());
  res.on('close', () => res.writableFinished || upstream?.abort(new Error('left')));
  pool.dispatch(
    { method: method as Dispatcher.HttpMethod, path: url!, headers, body: req },
    {
      onRequestStart(controller) {
        upstream = controller;
      },
      onResponseStart: ({ rawHeaders: raw }, status) => void res.writeHead(status, (raw as Buffer[]).map(String)),
      onResponseData: (controller, chunk) => void (res.write(chunk) || controller.pause()),
      onResponseEnd: () => void res.end(),
      onResponseError: () => void res.destroy(),
    },
  );
});
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
