import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * The backend of the benchmark, a process of its own: an OpenAI server that computes nothing. The model's name says how
 * it answers: `fast` at once, `paced` 20 ms between two chunks, `slow` never (its caller is to leave). Prints its port.
 */
const chunks = 50;
const text = 'x'.repeat(24);
const completion = (received: number) =>
  JSON.stringify({
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1_767_225_600,
    model: 'fast',
    choices: [{ index: 0, message: { role: 'assistant', content: 'y'.repeat(800) }, finish_reason: 'stop' }],
    usage: { prompt_tokens: received, completion_tokens: 200, total_tokens: received + 200 },
  });
const event = (delta: object, finish: string | null) =>
  `data: ${JSON.stringify({
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1_767_225_600,
    model: 'fast',
    system_fingerprint: 'fp_0123456789abcdef',
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
  })}\n\n`;
const events = Array.from({ length: chunks }, (_, index) =>
  Buffer.from(index < chunks - 1 ? event({ content: text }, null) : `${event({}, 'stop')}data: [DONE]\n\n`),
);

/** When the callers of `slow` left, by the request's `user`; monotonic, so that another process can compare. */
const leavings: Record<string, string> = {};

/** For who asks with `stream_options`. */
const usageEvent = `data: ${JSON.stringify({ id: 'chatcmpl-1', model: 'fast', choices: [], usage: { prompt_tokens: 300, completion_tokens: 200 } })}\n\n`;
const lastWithUsage = Buffer.from(`${event({}, 'stop')}${usageEvent}data: [DONE]\n\n`);

function stream(res: ServerResponse, tellsUsage: boolean, next: (send: () => void) => void) {
  res.writeHead(200, { 'Content-Type': 'text/event-stream' });
  let sent = 0;
  const send = () => {
    if (res.destroyed) return;
    res.write(tellsUsage && sent === chunks - 1 ? lastWithUsage : events[sent]);
    sent += 1;
    if (sent < chunks) next(send);
    else res.end();
  };
  send();
}

function answer(req: IncomingMessage, res: ServerResponse) {
  let received = 0;
  let head = '';
  req.on('data', (chunk: Buffer) => {
    received += chunk.length;
    if (head.length < 512) head += chunk.toString('latin1', 0, 512);
  });
  req.on('end', () => {
    const isStream = /"stream":\s*true/.test(head);
    if (/"model":\s*"slow"/.test(head)) {
      const user = /"user":\s*"([^"]+)"/.exec(head)?.[1] ?? '';
      res.once('close', () => {
        leavings[user] = String(process.hrtime.bigint());
      });
      if (isStream) {
        res.writeHead(200, { 'Content-Type': 'text/event-stream' });
        res.write(events[0]);
      }
      return;
    }
    const tellsUsage = head.includes('"include_usage":true');
    if (isStream)
      return stream(res, tellsUsage, /"model":\s*"paced"/.test(head) ? (send) => setTimeout(send, 20) : setImmediate);
    const body = completion(received);
    res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': body.length }).end(body);
  });
}

const server = createServer({ keepAliveTimeout: 60_000 }, (req, res) => {
  if (req.url === '/leavings') res.end(JSON.stringify(leavings));
  else answer(req, res);
});
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
