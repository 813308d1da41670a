import { Agent, request as httpRequest, type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import {
  createBufferedWriter,
  createHeldBackWriter,
  deadlineMs,
  type WatchdogSettings,
  wantsStream,
} from './watchdog.ts';

const hopByHop = new Set(
  'connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade'.split(
    ' ',
  ),
);

export interface ForwardTarget {
  name: string;
  port: number;
  watchdog: WatchdogSettings;
  /** Calls under way, for max_inflight. */
  inflight: number;
}

export interface ForwardedCall {
  callId: string;
  startTime: string;
  /** What the gateway puts on every answer. */
  answerHeaders: [name: string, value: string][];
  /** Path and query as the function sees them. */
  url: string;
  upstreamTimeoutMs: number;
  log: (line: string) => void;
}

const agent = new Agent({ keepAlive: true });

/** Name and value of every header that is not for one hop only. */
export function endToEnd(rawHeaders: string[]): [string, string][] {
  const named = rawHeaders.flatMap((name, index): [string, string][] =>
    index % 2 === 0 ? [[name, rawHeaders[index + 1]!]] : [],
  );
  const connection = named.filter(([name]) => /^connection$/i.test(name)).flatMap(([, value]) => value.split(','));
  const dropped = new Set([...hopByHop, ...connection.map((name) => name.trim().toLowerCase())]);
  return named.filter(([name]) => !dropped.has(name.toLowerCase()));
}

/** True when bytes of a body come. Go looks at the first ones for 200 ms before it gives up on knowing. */
async function hasBody(req: IncomingMessage): Promise<boolean> {
  if (req.headers['transfer-encoding'] === undefined) return Number(req.headers['content-length'] ?? 0) > 0;
  const first = await Promise.race([
    new Promise<boolean>((resolve) => {
      req.once('readable', () => resolve(req.readableLength > 0));
      req.once('end', () => resolve(false));
    }),
    wait(200, true),
  ]);
  return first;
}

function requestHeaders(req: IncomingMessage, target: ForwardTarget, call: ForwardedCall, body: boolean) {
  const { socket, headers } = req;
  const kept = endToEnd(req.rawHeaders).filter(
    ([name]) => !/^(host|content-length|x-call-id|x-start-time)$/i.test(name),
  );
  const added: [string, string][] = [
    ['Host', `127.0.0.1:${target.port}`],
    ['X-Call-Id', call.callId],
    ['X-Start-Time', call.startTime],
  ];
  if (headers['x-forwarded-for'] === undefined) {
    added.push(['X-Forwarded-For', `${socket.remoteAddress}:${socket.remotePort}`]);
  }
  if (headers['x-forwarded-host'] === undefined) added.push(['X-Forwarded-Host', headers.host ?? '']);
  if (headers['user-agent'] === undefined) added.push(['User-Agent', 'Go-http-client/1.1']);
  if (body) added.push(['Transfer-Encoding', 'chunked']);
  else if (/^(POST|PUT|PATCH)$/.test(req.method ?? '')) added.push(['Content-Length', '0']);
  return [...added, ...kept].flat();
}

/** A platform's own answer; X-OpenFaaS-Internal tells a caller that the function had no part in it. */
export function sendPlatformError(
  res: ServerResponse,
  status: number,
  from: 'proxy' | 'of-watchdog' | 'faas-middleware',
  body: string,
  answerHeaders: [string, string][],
) {
  const headers: [string, string][] = [...answerHeaders, ['X-OpenFaaS-Internal', from]];
  if (body !== '') headers.push(['Content-Type', 'text/plain; charset=utf-8']);
  res.writeHead(status, [...headers, ['Content-Length', String(Buffer.byteLength(body))]].flat());
  res.end(body);
}

/**
 * Hands one call to a function as OpenFaaS does, the gateway's hop, the provider's and the watchdog's in one: bodies go
 * chunked, answers are held back unless Accept asks for a stream, failures become the platform's codes. Never throws.
 */
export async function forward(req: IncomingMessage, res: ServerResponse, target: ForwardTarget, call: ForwardedCall) {
  const { watchdog } = target;
  const startedAt = performance.now();
  if (watchdog.maxInflight > 0 && target.inflight >= watchdog.maxInflight) {
    const text = `Concurrent request limit exceeded. Max concurrent requests: ${watchdog.maxInflight}`;
    sendPlatformError(res, 429, 'faas-middleware', text, call.answerHeaders);
    return;
  }
  target.inflight += 1;
  const stream = wantsStream(req.headers.accept);
  const body = await hasBody(req);
  if (res.closed) {
    target.inflight -= 1;
    return;
  }

  await new Promise<void>((done) => {
    let bytes = 0;
    let answer: IncomingMessage | undefined;
    const upstream = httpRequest({
      host: '127.0.0.1',
      port: target.port,
      method: req.method!,
      path: call.url,
      headers: requestHeaders(req, target, call, body),
      agent,
    });

    const fail = (status: number, from: 'proxy' | 'of-watchdog') => {
      if (res.headersSent || res.destroyed) return;
      // On the streaming path the platform's error handler is empty, and Go then answers 200 without a body.
      if (stream) res.writeHead(200, [...call.answerHeaders, ['Content-Length', '0']].flat()).end();
      else sendPlatformError(res, status, from, '', call.answerHeaders);
    };
    /** The function's answer ended before its time: Go ends a chunked answer cleanly, and drops one that promised a length. */
    let finish: (() => void) | undefined;
    const cutShort = () => {
      if (res.destroyed) return;
      if (answer?.headers['content-length'] !== undefined) res.destroy();
      else finish?.();
    };

    const execMs = deadlineMs(watchdog, req.headers['x-timeout'] as string | undefined, stream);
    const timers = [
      ...(execMs > 0 ? [setTimeout(() => upstream.destroy(new Error('exec_timeout')), execMs)] : []),
      ...(stream ? [] : [setTimeout(() => upstream.destroy(new Error('upstream_timeout')), call.upstreamTimeoutMs)]),
      setTimeout(() => res.destroy(), watchdog.writeTimeoutMs),
    ];

    upstream.on('error', (error) => {
      // Once there is an answer its own end decides: a function may answer before it has read the whole body.
      if (answer !== undefined) return;
      if (error.message === 'exec_timeout') fail(504, 'of-watchdog');
      else if (error.message === 'upstream_timeout') fail(502, 'proxy');
      else fail(500, 'of-watchdog');
    });
    upstream.on('response', (response) => {
      answer = response;
      const status = response.statusCode ?? 500;
      const seconds = ((performance.now() - startedAt) / 1_000).toFixed(6);
      const ours = new Set(call.answerHeaders.map(([name]) => name.toLowerCase()));
      const headers = [
        ...endToEnd(response.rawHeaders).filter(([name]) => !ours.has(name.toLowerCase())),
        ...call.answerHeaders,
        ...(stream ? [] : [['X-Duration-Seconds', seconds]]),
      ];
      if (response.headers['content-type'] === undefined && status !== 204 && status !== 304) {
        headers.push(['Content-Type', req.headers['content-type'] ?? 'text/plain']);
      }
      const bodiless = req.method === 'HEAD' || status === 204 || status === 304;
      const head = (knownLength?: number) => {
        const length =
          knownLength !== undefined && !bodiless && response.headers['content-length'] === undefined
            ? [['Content-Length', String(knownLength)]]
            : [];
        res.writeHead(status, STATUS_CODES[status] ?? '', [...headers, ...length].flat());
      };

      const createWriter =
        response.headers['content-length'] === undefined ? createHeldBackWriter : createBufferedWriter;
      const buffered = stream ? undefined : createWriter(res, head);
      if (stream) {
        head();
        res.flushHeaders();
      }
      finish = () => (buffered ? buffered.end() : res.end());
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        const more = buffered ? buffered.write(chunk) : res.write(chunk);
        if (!more) {
          response.pause();
          res.once('drain', () => response.resume());
        }
      });
      response.on('error', () => undefined);
      response.on('close', () => {
        if (response.complete && !res.destroyed) finish?.();
        else cutShort();
      });
    });

    res.on('close', () => {
      for (const timer of timers) clearTimeout(timer);
      if (!res.writableFinished || !answer?.complete) upstream.destroy();
      target.inflight -= 1;
      const seconds = ((performance.now() - startedAt) / 1_000).toFixed(4);
      const status = `${res.statusCode} ${STATUS_CODES[res.statusCode] ?? ''}`;
      const id = watchdog.logCallId ? ` [${call.callId}]` : '';
      call.log(`${target.name} | ${req.method} ${call.url} - ${status} - ContentLength: ${bytes}B (${seconds}s)${id}`);
      done();
    });

    if (body) req.pipe(upstream);
    else upstream.end();
  });
}
