import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { headersOf, type Seen, startTestGateway, until } from '../support/gateway.ts';

type Gateway = Awaited<ReturnType<typeof startTestGateway>>;
let gateway: Gateway;

/** Where the results of asynchronous calls go. */
const callbacks: { headers: IncomingMessage['headers']; body: string }[] = [];
const receiver = createServer(async (req, res) => {
  let body = '';
  for await (const chunk of req) body += chunk;
  callbacks.push({ headers: req.headers, body });
  res.end();
});
let callbackUrl: string;

beforeAll(async () => {
  gateway = await startTestGateway();
  await once(receiver.listen(0, '127.0.0.1'), 'listening');
  callbackUrl = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/done`;
});
afterAll(async () => {
  await gateway.close();
  receiver.closeAllConnections();
  receiver.close();
});

const post = (path: string, headers: Record<string, string> = {}, ...body: string[]) =>
  gateway.call(path, { method: 'POST', headers }, ...body);

describe('an asynchronous call', () => {
  it('is answered 202 with its call id at once, and its result goes to the callback', async () => {
    const headers = { 'X-Callback-Url': callbackUrl, 'Content-Type': 'text/plain', Authorization: 'Bearer mine' };
    const taken = await post('/async-function/plain/a%20b?q=1', headers, 'hello');
    expect(taken).toMatchObject({ status: 202, body: '' });
    const callId = taken.headers['x-call-id'];
    expect(callId).toMatch(/^[0-9a-f-]{36}$/);

    await until(() => callbacks.length === 1);
    const [callback] = callbacks.splice(0);
    expect(callback!.headers).toMatchObject({
      'x-call-id': callId,
      'x-function-status': '200',
      'x-function-name': 'plain',
      'content-type': 'application/json',
      'user-agent': 'queue-worker/local',
    });
    expect(callback!.headers['x-duration-seconds']).toMatch(/^\d+\.\d{6}$/);
    const seen = JSON.parse(callback!.body) as Seen;
    expect(seen).toMatchObject({ method: 'POST', url: '/a%20b?q=1', body: 'hello' });
    expect(headersOf(seen)).toMatchObject({ 'x-call-id': callId, authorization: 'Bearer mine' });
    expect(headersOf(seen)).not.toHaveProperty('x-callback-url');
  });

  it('that fails is reported with its status and never sent again', async () => {
    await post('/async-function/plain/reset', { 'X-Callback-Url': callbackUrl, 'X-Call-Id': 'lost' });
    await until(() => callbacks.length === 1);
    expect(callbacks.splice(0)[0]!.headers).toMatchObject({ 'x-function-status': '500', 'x-call-id': 'lost' });
    expect(gateway.lines.filter((line) => line.startsWith('plain | POST /reset'))).toHaveLength(1);
  });

  it('goes one at a time, and the queue holds ten', async () => {
    const first = post('/async-function/narrow/drip', { Accept: 'text/event-stream' });
    expect((await first).status).toBe(202);
    const statuses: number[] = [];
    for (let count = 0; count < 11; count += 1) statuses.push((await post('/async-function/narrow')).status);
    expect(statuses).toEqual([...Array(10).fill(202), 500]);
    expect(gateway.lines.filter((line) => line.startsWith('narrow |'))).toEqual([]);
    await gateway.call('/function/plain');
  });

  it.each([
    ['GET', '/async-function/plain', 405],
    ['POST', '/async-function/ghost', 404],
  ])('%s %s is refused with %i', async (method, path, status) => {
    expect((await gateway.call(path, { method })).status).toBe(status);
  });

  it('that is too large, or has a callback that is no URL, is refused', async () => {
    expect((await post('/async-function/plain', {}, 'x'.repeat(256 * 1024 + 1))).status).toBe(413);
    expect((await post('/async-function/plain', { 'X-Callback-Url': 'nowhere' })).status).toBe(400);
  });
});

describe('the log', () => {
  it('is read by function as JSON lines, the newest last', async () => {
    await gateway.call('/function/plain/one');
    await gateway.call('/function/plain/two');
    await until(() => gateway.lines.some((line) => line.includes('GET /two')));
    const { status, headers, body } = await gateway.call('/system/logs?name=plain&tail=1');
    expect([status, headers['content-type']]).toEqual([200, 'application/x-ndjson']);
    const lines = body
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ name: 'plain', namespace: 'openfaas-fn', instance: 'local' });
    expect(lines[0].text).toContain('GET /two');
    expect(Math.abs(Date.parse(lines[0].timestamp) - Date.now())).toBeLessThan(20_000);
    const none = await gateway.call('/system/logs?name=plain&since=2999-01-01T00:00:00Z');
    expect(none.body).toBe('');
    expect((await gateway.call('/system/logs?name=ghost')).status).toBe(404);
  });

  it('is followed until the reader leaves', async () => {
    let text = '';
    const req = request(`${gateway.url}/system/logs?name=plain&follow=1&tail=0`, { agent: false }, (res) => {
      res.setEncoding('utf8').on('data', (piece) => {
        text += piece;
      });
      res.on('error', () => undefined);
    }).end();
    await once(req, 'response');
    await gateway.call('/function/plain/followed');
    await until(() => text.includes('GET /followed'));
    req.on('error', () => undefined).destroy();
  });
});
