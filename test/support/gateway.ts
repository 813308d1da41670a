import { type IncomingHttpHeaders, type RequestOptions, request } from 'node:http';
import { join } from 'node:path';
import { type Front, startFront } from '../../tools/gateway/front.ts';
import { createJournal } from '../../tools/gateway/journal.ts';
import { type Child, createChild } from '../../tools/gateway/supervisor.ts';
import type { StackFunction } from '../../tools/stack/stack.ts';

const program = join(import.meta.dirname, '../fixtures/gateway/child.mjs');

/** A function of a stack file, as the gateway reads it. */
export function specOf(name: string, environment: Record<string, string>): StackFunction {
  return {
    name,
    image: `local/${name}:latest`,
    folder: '/nowhere',
    environment,
    secrets: ['a-secret'],
    labels: {},
    annotations: { topic: 'cron-function', schedule: '@hourly' },
    limits: {},
    requests: {},
    readOnlyRootFilesystem: true,
  };
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
  complete: boolean;
}

/** One call on a connection of its own; resolves when the answer has ended, whole or not. */
export function call(url: string, options: RequestOptions = {}, ...body: string[]): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = request(url, { agent: false, ...options }, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (piece) => {
        text += piece;
      });
      res.on('error', () => undefined);
      res.on('close', () => {
        resolve({ status: res.statusCode ?? 0, headers: res.headers, body: text, complete: res.complete });
      });
    });
    req.on('error', reject);
    for (const piece of body) req.write(piece);
    req.end();
  });
}

/** What the child of the fixture answers: the call as it arrived. */
export interface Seen {
  method: string;
  url: string;
  rawHeaders: string[];
  body: string;
  pid: number;
  env: Record<string, string>;
}

export function headersOf({ rawHeaders }: Seen): Record<string, string> {
  const names = rawHeaders.filter((_, index) => index % 2 === 0);
  return Object.fromEntries(names.map((name, index) => [name.toLowerCase(), rawHeaders[index * 2 + 1]!]));
}

/** Looks again and again until it is so; throws after the deadline. */
export async function until(condition: () => boolean | Promise<boolean>, deadlineMs = 5_000) {
  const end = Date.now() + deadlineMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error('it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Two functions behind the gateway: `plain`, and `narrow` with little time and one call at once. */
export async function startTestGateway() {
  const lines: string[] = [];
  const journal = createJournal((line) => void lines.push(line));
  const log = journal.write;
  const specs = [
    specOf('plain', { log_callid: 'true', GREETING: 'hello' }),
    specOf('narrow', { max_inflight: '1', exec_timeout: '300ms' }),
  ];
  const backoff = { firstMs: 50, maxMs: 200, steadyMs: 60_000 };
  const children: Child[] = specs.map(({ name, environment }) =>
    createChild({ name, program, environment, log, backoff }),
  );
  const served = specs.map((item, index) => ({ spec: item, port: children[index]!.port }));
  const front: Front = await startFront({ functions: () => served, port: 0, journal });
  const ready = await Promise.all(children.map((child) => child.start()));
  if (ready.includes(false)) throw new Error(lines.join('\n'));
  return {
    url: front.url,
    lines,
    call: (path: string, options?: RequestOptions, ...body: string[]) => call(front.url + path, options, ...body),
    async close() {
      await front.close();
      await Promise.all(children.map((child) => child.stop()));
    },
  };
}
