import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Caller, load, toRequest } from '../../tools/bench/proxy/load.ts';

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function serve(answer: RequestListener): Promise<number> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => server.close().closeAllConnections());
  return (server.address() as AddressInfo).port;
}

const request = toRequest('/x', { Accept: '*/*' }, Buffer.from('{}'));

describe('the load of the benchmark', () => {
  it('knows the end of an answer of known length and of one in chunks, and keeps its connection', async () => {
    const connections = new Set<unknown>();
    const port = await serve(async (req, res) => {
      connections.add(req.socket);
      const chunks: string[] = [];
      for await (const chunk of req) chunks.push(String(chunk));
      expect([req.url, chunks.join('')]).toEqual(['/x', '{}']);
      if (connections.size % 2 === 0) return res.end('known');
      res.write('data: 1\n\n');
      setTimeout(() => res.end('data: 2\n\n'), 30);
    });
    const caller = new Caller(port);
    const { ms, firstByteMs } = await caller.call(request);
    expect(ms).toBeGreaterThan(firstByteMs);
    await caller.call(request);
    caller.close();
    expect(connections.size).toBe(1);
  });

  it('makes as many calls as it is told', async () => {
    let calls = 0;
    const port = await serve((_, res) => {
      calls += 1;
      res.end('x');
    });
    const { count, timings } = await load(port, request, { connections: 3, count: 20 });
    expect([count, timings.length, calls]).toEqual([20, 20, 20]);
  });

  it('fails on another status and on an answer that is cut', async () => {
    const refusing = await serve((_, res) => res.writeHead(500).end());
    await expect(load(refusing, request, { connections: 1, count: 1 })).rejects.toThrow('500');
    const cutting = await serve((_, res) => {
      res.write('half');
      setTimeout(() => res.destroy(), 20);
    });
    await expect(load(cutting, request, { connections: 1, count: 1 })).rejects.toThrow('ended before');
  });
});
