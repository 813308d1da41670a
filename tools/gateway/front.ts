import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { StackFunction } from '../stack/stack.ts';
import { endToEnd, type ForwardTarget, forward, sendPlatformError } from './forward.ts';
import type { Journal } from './journal.ts';
import { createQueue, queueLimits } from './queue.ts';
import { answerSystem, namespace, sendText } from './system.ts';
import { readWatchdogSettings } from './watchdog.ts';

export interface ServedFunction {
  spec: StackFunction;
  /** Where its process listens; undefined while it is down. */
  port(): number | undefined;
}

export interface FrontOptions {
  /** Asked at each call, so that functions may come while the gateway listens. */
  functions: () => ServedFunction[];
  /** 0 takes any free port. */
  port: number;
  journal: Journal;
  /** The gateway's own patience; 60 s in OpenFaaS. */
  upstreamTimeoutMs?: number;
}

export interface Front {
  url: string;
  close(): Promise<void>;
}

interface Target {
  served: ServedFunction;
  forwarding: ForwardTarget;
  calls: number;
}

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** The path as the gateway's router wants it: no empty and no dot segments. */
export function cleanPath(path: string): string {
  const kept: string[] = [];
  for (const segment of path.split('/').slice(1)) {
    if (segment === '..') kept.pop();
    else if (segment !== '' && segment !== '.') kept.push(segment);
  }
  const tail = kept.length > 0 && /\/(\.{0,2})$/.test(path) ? '/' : '';
  return `/${kept.join('/')}${tail}`;
}

/** The HTTP face of OpenFaaS on 127.0.0.1: functions under `/function/`, and the part of `/system/` that callers read. */
export async function startFront(options: FrontOptions): Promise<Front> {
  const { functions, journal, upstreamTimeoutMs = 60_000 } = options;
  const log = journal.write;
  const startedAt = new Date().toISOString();
  const known = new Map<string, Target>();

  function targetOf(served: ServedFunction): Target {
    const { name, environment } = served.spec;
    const found = known.get(name);
    if (found !== undefined) return found;
    const forwarding = { name, port: 0, inflight: 0, watchdog: readWatchdogSettings(environment) };
    const target = { served, forwarding, calls: 0 };
    known.set(name, target);
    return target;
  }

  function findTarget(name: string): Target | undefined {
    const served = functions().find(({ spec }) => spec.name === name);
    return served && targetOf(served);
  }

  /** By `name` or `name.namespace`. */
  function find(fullName: string): Target | undefined {
    const dot = fullName.lastIndexOf('.');
    const space = dot === -1 ? namespace : fullName.slice(dot + 1);
    return space === namespace ? findTarget(dot === -1 ? fullName : fullName.slice(0, dot)) : undefined;
  }

  const queue = createQueue({ url: () => url, log });

  async function callFunction(req: IncomingMessage, res: ServerResponse, fullName: string, url: string) {
    const given = req.headers['x-call-id'];
    const callId = typeof given === 'string' && given !== '' ? given : randomUUID();
    const startTime = String(BigInt(Date.now()) * 1_000_000n);
    const answerHeaders: [string, string][] = [
      ...(callId === given ? [] : [['X-Call-Id', callId] as [string, string]]),
      ['X-Start-Time', startTime],
      ['X-Served-By', 'local-gateway'],
    ];
    const found = find(fullName);
    if (found === undefined) {
      const text = `error finding function ${fullName.includes('.') ? fullName : `${fullName}.${namespace}`}: no such function in the stack file`;
      return sendPlatformError(res, 404, 'proxy', text, answerHeaders);
    }
    if (!methods.has(req.method ?? '')) return sendPlatformError(res, 405, 'proxy', '', answerHeaders);
    const port = found.served.port();
    if (port === undefined) {
      return sendPlatformError(res, 500, 'proxy', `Can't reach service for: ${found.served.spec.name}.`, answerHeaders);
    }
    found.calls += 1;
    found.forwarding.port = port;
    return forward(req, res, found.forwarding, { callId, startTime, answerHeaders, url, upstreamTimeoutMs, log });
  }

  /** 202 at once, as the queue of OpenFaaS CE takes it; the result goes to X-Callback-Url, or nowhere. */
  async function enqueue(req: IncomingMessage, res: ServerResponse, fullName: string, rest: string) {
    if (req.method !== 'POST') return sendText(res, 405, '');
    if (find(fullName) === undefined) return sendText(res, 404, `error finding function ${fullName}\n`);
    const callbackUrl = req.headers['x-callback-url'] as string | undefined;
    if (callbackUrl !== undefined && !URL.canParse(callbackUrl))
      return sendText(res, 400, 'X-Callback-Url is no URL\n');
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of req) {
      bytes += (chunk as Buffer).length;
      if (bytes > queueLimits.bodyBytes) return sendText(res, 413, 'A queued call holds 256 KB at most\n');
      chunks.push(chunk as Buffer);
    }
    const callId = (req.headers['x-call-id'] as string | undefined) ?? randomUUID();
    const dropped = /^(x-call-id|x-callback-url)$/i;
    const headers = endToEnd(req.rawHeaders).filter(
      ([name]) => !dropped.test(name) && !/^(host|content-length)$/i.test(name),
    );
    const taken = queue.add({
      callId,
      target: `${fullName}${rest}`,
      headers,
      body: Buffer.concat(chunks),
      callbackUrl,
    });
    if (!taken) return sendText(res, 500, 'The queue is full\n');
    return sendText(res, 202, '', { 'X-Call-Id': callId });
  }

  async function route(req: IncomingMessage, res: ServerResponse) {
    const [path = '/', ...rest] = (req.url ?? '/').split('?');
    const query = rest.length === 0 ? '' : `?${rest.join('?')}`;
    const clean = cleanPath(path);
    if (clean !== path) return sendText(res, 301, '', { Location: clean + query });
    const call = /^\/function\/([-a-zA-Z_0-9.]+)(\/.*)?$/.exec(path);
    if (call !== null) return callFunction(req, res, call[1]!, `${call[2] ?? '/'}${query}`);
    if (path === '/healthz') return sendText(res, 200, 'OK');
    const queued = /^\/async-function\/([-a-zA-Z_0-9.]+)(\/.*)?$/.exec(path);
    if (queued !== null) return enqueue(req, res, queued[1]!, `${queued[2] ?? ''}${query}`);
    if (path.startsWith('/system/')) {
      const all = functions().map((served) => ({ ...served, calls: targetOf(served).calls }));
      return answerSystem(req, res, { path, query: new URLSearchParams(query), functions: all, journal, startedAt });
    }
    if (path === '/') {
      const list = functions()
        .map(({ spec }) => `/function/${spec.name}\n`)
        .join('');
      return sendText(res, 200, `A local stand-in for an OpenFaaS gateway.\n\n${list}`);
    }
    return sendText(res, 404, '404 page not found\n');
  }

  const server = createServer((req, res) => {
    route(req, res).catch((error: unknown) => {
      log(`gateway | ${String(error)}`);
      if (res.headersSent) res.destroy();
      else sendPlatformError(res, 502, 'proxy', '', []);
    });
  });
  // Long uploads and streams end by the function's own time limits.
  server.requestTimeout = 0;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(options.port, '127.0.0.1', resolve);
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    close: () =>
      new Promise((resolve) => {
        queue.close();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
