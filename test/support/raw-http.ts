import { request } from 'node:http';

export interface RawCall {
  method: string;
  /** As it goes on the wire; nothing is escaped or joined. */
  target: string;
  /** Name, value, name, value. */
  headers: string[];
  /** Written one by one; with `chunked` in chunks, else under one Content-Length. Undefined sends no body. */
  body?: Buffer[];
  chunked?: boolean;
  /** Waits for 100 before the body. */
  expectContinue?: boolean;
}

export interface RawAnswer {
  status: number;
  headers: [name: string, value: string][];
  body: Buffer;
  trailers: [name: string, value: string][];
  continued: boolean;
}

export function toPairs(raw: string[]): [string, string][] {
  return Array.from({ length: raw.length / 2 }, (_, index) => [raw[2 * index]!, raw[2 * index + 1]!]);
}

/** One call over a connection of its own, with nothing added but Host and what frames the body. */
export function callRaw(origin: string, call: RawCall): Promise<RawAnswer> {
  const { hostname, port } = new URL(origin);
  const { method, target, body, chunked = false, expectContinue = false } = call;
  const framing =
    body === undefined
      ? []
      : chunked
        ? ['Transfer-Encoding', 'chunked']
        : ['Content-Length', String(Buffer.concat(body).length)];
  const headers = ['Host', 'caller.example', ...call.headers, ...framing];
  if (expectContinue) headers.push('Expect', '100-continue');
  return new Promise((resolve, reject) => {
    let continued = false;
    const req = request({ hostname, port, method, path: target, headers, agent: false }, (res) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk) => chunks.push(chunk));
      res.on('error', reject);
      res.on('end', () =>
        resolve({
          status: res.statusCode ?? 0,
          headers: toPairs(res.rawHeaders),
          body: Buffer.concat(chunks),
          trailers: toPairs(res.rawTrailers),
          continued,
        }),
      );
    });
    req.on('error', reject);
    const send = () => {
      for (const chunk of body ?? []) req.write(chunk);
      req.end();
    };
    if (!expectContinue) return send();
    req.once('continue', () => {
      continued = true;
      send();
    });
    return req.flushHeaders();
  });
}
