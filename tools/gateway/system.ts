import type { IncomingMessage, ServerResponse } from 'node:http';
import type { StackFunction } from '../stack/stack.ts';
import type { Journal, JournalLine } from './journal.ts';

export const namespace = 'openfaas-fn';

export interface SystemFunction {
  spec: StackFunction;
  port(): number | undefined;
  /** Calls so far. */
  calls: number;
}

export interface SystemCall {
  path: string;
  query: URLSearchParams;
  functions: SystemFunction[];
  journal: Journal;
  startedAt: string;
}

function sendJson(res: ServerResponse, status: number, value: unknown) {
  res.writeHead(status, { 'Content-Type': 'application/json' });
  res.end(JSON.stringify(value));
}

export function sendText(res: ServerResponse, status: number, text: string, headers: Record<string, string> = {}) {
  res.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', ...headers });
  res.end(text);
}

/** As the provider lists it, without the environment: values there may be credentials. */
function describe({ spec, port, calls }: SystemFunction, createdAt: string) {
  const { name, image, labels, annotations, limits, requests, secrets, readOnlyRootFilesystem } = spec;
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
    availableReplicas: port() === undefined ? 0 : 1,
    createdAt,
  };
}

/** The provider's log: JSON lines, the newest `tail` of them since `since`, going on while `follow` is set. */
function answerLogs(res: ServerResponse, query: URLSearchParams, journal: Journal) {
  const name = query.get('name') ?? '';
  const since = Date.parse(query.get('since') ?? '') || 0;
  const tail = query.has('tail') && query.get('tail') !== '' ? Number(query.get('tail')) : undefined;
  if (tail !== undefined && !Number.isInteger(tail)) return sendText(res, 400, 'tail must be a whole number\n');
  const write = ({ at, text }: JournalLine) =>
    res.write(
      `${JSON.stringify({ name, namespace, instance: 'local', timestamp: new Date(at).toISOString(), text })}\n`,
    );
  res.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
  res.flushHeaders();
  for (const line of journal.read({ name, since, ...(tail === undefined ? {} : { tail }) })) write(line);
  if (!/^(1|true)$/.test(query.get('follow') ?? '')) return res.end();
  return res.on('close', journal.follow(name, write));
}

/** The part of `/system/` that faas-cli, cron-connector and dashboards read; nothing is changed through it. */
export function answerSystem(req: IncomingMessage, res: ServerResponse, call: SystemCall) {
  const { path, query, functions, journal, startedAt } = call;
  if (req.method !== 'GET') return sendText(res, 405, 'The local gateway reads its functions from the stack file\n');
  const here = [namespace, '', null].includes(query.get('namespace'));
  if (path === '/system/info') {
    const version = { sha: 'local', release: 'local' };
    const provider = { provider: 'local-gateway', orchestration: 'processes', version };
    return sendJson(res, 200, { provider, version, arch: process.arch });
  }
  if (path === '/system/namespaces') return sendJson(res, 200, [namespace]);
  if (path === '/system/functions') {
    return sendJson(res, 200, here ? functions.map((each) => describe(each, startedAt)) : []);
  }
  const isLogs = path === '/system/logs';
  const name = isLogs ? query.get('name') : path.replace('/system/function/', '');
  const one = here ? functions.find(({ spec }) => spec.name === name) : undefined;
  if (one === undefined) return sendText(res, 404, 'not found\n');
  return isLogs ? answerLogs(res, query, journal) : sendJson(res, 200, describe(one, startedAt));
}
