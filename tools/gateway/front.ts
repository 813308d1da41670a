import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { StackFunction } from '../stack/stack.ts';
import { type ForwardTarget, forward, sendPlatformError } from './forward.ts';
import { readWatchdogSettings } from './watchdog.ts';

export const namespace = 'openfaas-fn';

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
  log: (line: string) => void;
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

function sendJson(res: ServerResponse, status: number, value: unknown) {
  res.writeHead(status, { 'Content-Type': 'application/json' });
  res.end(JSON.stringify(value));
}

function sendText(res: ServerResponse, status: number, text: string, headers: Record<string, string> = {}) {
  res.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', ...headers });
  res.end(text);
}

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
  const { functions, log, upstreamTimeoutMs = 60_000 } = options;
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

  /** As the provider lists it, without the environment: values there may be credentials. */
  function describe({ served, calls }: Target) {
    const { name, image, labels, annotations, limits, requests, secrets, readOnlyRootFilesystem } = served.spec;
    const availableReplicas = served.port() === undefined ? 0 : 1;
    return {
      name,
      image,
      namespace,
      labels,
      annotations,
      secrets,
      limits,
      requests,
      readOnlyRootFilesystem,
      invocationCount: calls,
      replicas: 1,
      availableReplicas,
      createdAt: startedAt,
    };
  }

  async function callFunction(req: IncomingMessage, res: ServerResponse, fullName: string, url: string) {
    const given = req.headers['x-call-id'];
    const callId = typeof given === 'string' && given !== '' ? given : randomUUID();
    const startTime = String(BigInt(Date.now()) * 1_000_000n);
    const answerHeaders: [string, string][] = [
      ...(callId === given ? [] : [['X-Call-Id', callId] as [string, string]]),
      ['X-Start-Time', startTime],
      ['X-Served-By', 'local-gateway'],
    ];
    const dot = fullName.lastIndexOf('.');
    const name = dot === -1 ? fullName : fullName.slice(0, dot);
    const space = dot === -1 ? namespace : fullName.slice(dot + 1);
    const found = space === namespace ? findTarget(name) : undefined;
    if (found === undefined) {
      const text = `error finding function ${name}.${space}: no such function in the stack file`;
      return sendPlatformError(res, 404, 'proxy', text, answerHeaders);
    }
    if (!methods.has(req.method ?? '')) return sendPlatformError(res, 405, 'proxy', '', answerHeaders);
    const port = found.served.port();
    if (port === undefined) {
      return sendPlatformError(res, 500, 'proxy', `Can't reach service for: ${name}.`, answerHeaders);
    }
    found.calls += 1;
    found.forwarding.port = port;
    return forward(req, res, found.forwarding, { callId, startTime, answerHeaders, url, upstreamTimeoutMs, log });
  }

  function system(req: IncomingMessage, res: ServerResponse, path: string, query: URLSearchParams) {
    if (req.method !== 'GET') return sendText(res, 405, 'The local gateway reads its functions from the stack file\n');
    const here = [namespace, '', null].includes(query.get('namespace'));
    if (path === '/system/info') {
      const version = { sha: 'local', release: 'local' };
      const provider = { provider: 'local-gateway', orchestration: 'processes', version };
      return sendJson(res, 200, { provider, version, arch: process.arch });
    }
    if (path === '/system/namespaces') return sendJson(res, 200, [namespace]);
    if (path === '/system/functions') return sendJson(res, 200, here ? functions().map(targetOf).map(describe) : []);
    const one = here ? findTarget(path.replace('/system/function/', '')) : undefined;
    return one === undefined ? sendText(res, 404, 'not found\n') : sendJson(res, 200, describe(one));
  }

  async function route(req: IncomingMessage, res: ServerResponse) {
    const [path = '/', ...rest] = (req.url ?? '/').split('?');
    const query = rest.length === 0 ? '' : `?${rest.join('?')}`;
    const clean = cleanPath(path);
    if (clean !== path) return sendText(res, 301, '', { Location: clean + query });
    const call = /^\/function\/([-a-zA-Z_0-9.]+)(\/.*)?$/.exec(path);
    if (call !== null) return callFunction(req, res, call[1]!, `${call[2] ?? '/'}${query}`);
    if (path === '/healthz') return sendText(res, 200, 'OK');
    if (path.startsWith('/system/')) return system(req, res, path, new URLSearchParams(query));
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
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
