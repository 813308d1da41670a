import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parentPort } from 'node:worker_threads';

const answerAfterMs = 5;

/** A Lago that answers after five milliseconds, whatever it is sent; a thread of its own, as Lago is another machine. */
const server = createServer((req, res) => {
  let body = '';
  req.setEncoding('utf8').on('data', (part) => {
    body += part;
  });
  req.on('end', () => {
    if (req.url === '/health') return res.end('{"version":"v1.39.0"}');
    // The events come back as they were sent, without being read: nobody measures the double.
    setTimeout(() => res.end(body), answerAfterMs);
    return undefined;
  });
});
server.listen(0, '127.0.0.1', () => {
  parentPort?.postMessage(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
