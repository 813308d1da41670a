import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';

/** One call as it came in, with what was answered. Credentials are noted as present, never kept. */
export interface LedgerEntry {
  at: string;
  method: string;
  path: string;
  query: string;
  headers: Record<string, string>;
  body: string;
  /** 0 until the answer began, or when the connection was cut before it. */
  status: number;
  fault?: FaultKind;
  /** True when the caller left before the answer was complete. */
  aborted?: boolean;
}

export type FaultKind =
  | 'slow'
  | 'status'
  | 'rate-limit'
  | 'cut'
  | 'lost'
  | 'reset'
  | 'html'
  | 'unauthorized'
  | 'hang'
  | 'pass';

/**
 * A switch for trouble. Of those that match a call the first one strikes; slow ones strike besides. `lost` does the work
 * and drops the connection instead of answering. `pass` strikes nothing and lets the call by the faults behind it.
 */
export interface Fault {
  kind: FaultKind;
  /** Of `status`: the body, where it is not the service's own. */
  text?: string;
  method?: string;
  /** A regular expression on the path; every path without it. */
  path?: string;
  /** A regular expression on the body; every body without it. */
  body?: string;
  /** Strikes left; for ever without it. */
  times?: number;
  /** Of the calls that match, the share that is struck: 0.2 is every fifth or so, the same ones for the same seed. */
  share?: number;
  /** slow: how long before the answer. */
  delayMs?: number;
  /** status: what to answer; 500 without it. */
  status?: number;
  /** rate-limit: the Retry-After. */
  retryAfterS?: number;
  /** cut: bytes of the body that still go out. */
  afterBytes?: number;
}

export interface SandboxCall {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  body: string;
  /** The body as JSON; undefined when it is none. */
  json: unknown;
  req: IncomingMessage;
  res: ServerResponse;
}

export interface Sandbox {
  /** http://127.0.0.1:<port> */
  url: string;
  ledger: LedgerEntry[];
  faults: Fault[];
  close(): Promise<void>;
}

export interface SandboxOptions {
  name: string;
  /** 0 takes any free port. */
  port?: number;
  /** Answers a call, through `sendJson` or the raw response. */
  handle: (call: SandboxCall) => void | Promise<void>;
  /** The upstream's own body for a refused credential. */
  unauthorized?: { status: number; body: unknown };
  /** What `/_sandbox/ledger` shows beside the calls: what was done. */
  state?: () => unknown;
}

export function sendJson(res: ServerResponse, status: number, value: unknown, headers: Record<string, string> = {}) {
  res.writeHead(status, { 'Content-Type': 'application/json', ...headers });
  res.end(JSON.stringify(value));
}

const credential = /^(authorization|x-api-key|cookie|x-goog-api-key)$/;

async function readBody(req: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Lets `limit` bytes of the body out, then drops the connection. */
function cutAfter(res: ServerResponse, limit: number) {
  const { write, end } = res;
  let left = limit;
  const cut = (chunk: unknown) => {
    const bytes = Buffer.from((chunk as string | Buffer | undefined) ?? '');
    const whole = bytes.length < left;
    const part = bytes.subarray(0, left);
    left -= part.length;
    write.call(res, part, 'utf8', () => whole || res.socket?.destroy());
    return true;
  };
  res.removeHeader('Content-Length');
  res.write = cut as typeof res.write;
  res.end = ((chunk?: unknown) => {
    if (chunk !== undefined) cut(chunk);
    if (left > 0) end.call(res, undefined, 'utf8');
    return res;
  }) as typeof res.end;
}

/** Strikes a call; true when the fault answered it. */
async function strike(fault: Fault, res: ServerResponse, options: SandboxOptions): Promise<boolean> {
  switch (fault.kind) {
    case 'slow':
      await wait(fault.delayMs ?? 1_000);
      return false;
    case 'pass':
      return false;
    case 'cut':
      cutAfter(res, fault.afterBytes ?? 100);
      return false;
    case 'lost':
      res.writeHead = (() => {
        res.socket?.resetAndDestroy();
        return res;
      }) as typeof res.writeHead;
      return false;
    case 'hang':
      return true;
    case 'reset':
      res.socket?.resetAndDestroy();
      return true;
    case 'status':
      if (fault.text !== undefined) res.writeHead(fault.status ?? 500).end(fault.text);
      else sendJson(res, fault.status ?? 500, { error: { message: `${options.name} failed on purpose` } });
      return true;
    case 'rate-limit':
      sendJson(
        res,
        429,
        { error: { message: 'too many requests' } },
        { 'Retry-After': String(fault.retryAfterS ?? 1) },
      );
      return true;
    case 'html':
      res.writeHead(200, { 'Content-Type': 'text/html' });
      res.end('<!doctype html><title>Bad gateway</title><h1>It is not JSON that answers here</h1>');
      return true;
    case 'unauthorized': {
      const { status, body } = options.unauthorized ?? { status: 401, body: { error: 'unauthorized' } };
      sendJson(res, status, body);
      return true;
    }
  }
}

/**
 * A simulated upstream on 127.0.0.1. `GET /_sandbox/ledger` shows what was asked and done, `DELETE` empties it;
 * `GET`, `POST` (one Fault or a list) and `DELETE /_sandbox/faults` show, add and clear faults.
 */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const ledger: LedgerEntry[] = [];
  const faults: Fault[] = [];
  const random = createRandom(1);

  function control(call: SandboxCall) {
    const { method, path, json, res } = call;
    const target = path === '/_sandbox/ledger' ? ledger : faults;
    if (method === 'DELETE') target.length = 0;
    if (method === 'POST' && target === faults) faults.push(...([json].flat() as Fault[]));
    if (target === faults) return sendJson(res, 200, faults);
    return sendJson(res, 200, { calls: ledger, state: options.state?.() ?? null });
  }

  function takeFaults({ method, path, body }: SandboxCall): Fault[] {
    const matching = faults.filter(
      (item) =>
        (item.times ?? 1) > 0 &&
        (item.method ?? method) === method &&
        (item.path === undefined || new RegExp(item.path).test(path)) &&
        (item.body === undefined || new RegExp(item.body).test(body)) &&
        (item.share === undefined || random() < item.share),
    );
    const first = matching.find(({ kind }) => kind !== 'slow');
    const struck = matching.filter((item) => item.kind === 'slow' || item === first);
    for (const fault of struck) if (fault.times !== undefined) fault.times -= 1;
    return struck;
  }

  async function serve(req: IncomingMessage, res: ServerResponse) {
    const url = new URL(req.url ?? '/', 'http://sandbox');
    const body = await readBody(req);
    const { method = 'GET', headers } = req;
    const call = {
      method,
      path: url.pathname,
      query: url.searchParams,
      headers,
      body,
      json: parseJson(body),
      req,
      res,
    };
    if (/^\/_sandbox\/(ledger|faults)$/.test(call.path)) return control(call);

    const shownHeaders = Object.entries(headers).map(([name, value]) => [
      name,
      credential.test(name) ? '[present]' : String(value),
    ]);
    const entry: LedgerEntry = {
      at: new Date().toISOString(),
      method,
      path: call.path,
      query: url.search,
      headers: Object.fromEntries(shownHeaders),
      body,
      status: 0,
    };
    ledger.push(entry);
    res.on('close', () => {
      entry.status = res.headersSent ? res.statusCode : 0;
      if (!res.writableFinished) entry.aborted = true;
    });
    for (const fault of takeFaults(call)) {
      entry.fault = fault.kind;
      if (await strike(fault, res, options)) return;
    }
    await options.handle(call);
  }

  const server = createServer((req, res) => {
    serve(req, res).catch((error: unknown) => {
      console.error(`sandbox ${options.name}:`, error);
      if (res.headersSent) res.destroy();
      else sendJson(res, 500, { error: String(error) });
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ledger,
    faults,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** What every sandbox's start takes: which version it plays, which data it makes, where it listens. */
export interface SandboxFlags {
  profile?: string;
  seed?: number;
  port?: number;
}

/** The command line of a sandbox: `node sandbox/<name>.ts --profile P --port N --seed S`. */
export async function runSandbox(start: (flags: SandboxFlags) => Promise<Sandbox>): Promise<void> {
  const { values } = parseArgs({
    options: { profile: { type: 'string' }, port: { type: 'string' }, seed: { type: 'string' } },
  });
  const sandbox = await start({
    ...(values.profile === undefined ? {} : { profile: values.profile }),
    ...(values.port === undefined ? {} : { port: Number(values.port) }),
    ...(values.seed === undefined ? {} : { seed: Number(values.seed) }),
  });
  console.log(sandbox.url);
}

/** A small generator (mulberry32) that gives the same numbers in [0, 1) for the same seed, on every machine. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
