import { request } from 'node:http';

export interface QueuedCall {
  callId: string;
  /** The function with the rest of its path and query: `name/path?query`. */
  target: string;
  headers: [name: string, value: string][];
  body: Buffer;
  /** X-Callback-Url. */
  callbackUrl: string | undefined;
}

export interface Queue {
  /** False when the queue is full. */
  add(call: QueuedCall): boolean;
  close(): void;
}

/** What a queue-worker of OpenFaaS CE holds: ten calls at most, each of 256 KB at most, one at a time, five minutes each. */
export const queueLimits = { calls: 10, bodyBytes: 256 * 1024, timeoutMs: 5 * 60_000 };

interface Result {
  status: number;
  contentType: string | undefined;
  body: Buffer;
}

function post(url: string, headers: string[], body: Buffer, timeoutMs: number): Promise<Result> {
  return new Promise((resolve, reject) => {
    const req = request(
      url,
      { method: 'POST', headers, agent: false, signal: AbortSignal.timeout(timeoutMs) },
      (res) => {
        const chunks: Buffer[] = [];
        res.on('data', (chunk: Buffer) => chunks.push(chunk));
        res.on('error', reject);
        res.on('end', () => {
          resolve({
            status: res.statusCode ?? 0,
            contentType: res.headers['content-type'],
            body: Buffer.concat(chunks),
          });
        });
      },
    );
    req.on('error', reject);
    req.end(body);
  });
}

/**
 * The asynchronous calls of `/async-function/`: each is sent once to the gateway at `url`, never again, and its result,
 * whatever it is, to the callback of the caller.
 */
export function createQueue({ url, log }: { url: () => string; log: (line: string) => void }): Queue {
  const waiting: QueuedCall[] = [];
  let isRunning = false;
  let isClosed = false;

  async function run({ callId, target, headers, body, callbackUrl }: QueuedCall) {
    const startedAt = performance.now();
    const name = target.split(/[/?]/, 1)[0]!;
    const sent = [...headers, ['X-Call-Id', callId], ['Content-Length', String(body.length)]].flat();
    const host = ['Host', new URL(url()).host];
    const result = await post(`${url()}/function/${target}`, [...host, ...sent], body, queueLimits.timeoutMs).catch(
      (error: Error): Result => ({ status: 500, contentType: 'text/plain', body: Buffer.from(error.message) }),
    );
    log(`queue | ${name} ${result.status} [${callId}]`);
    if (callbackUrl === undefined) return;
    const about: [string, string][] = [
      ['Host', new URL(callbackUrl).host],
      ['X-Call-Id', callId],
      ['X-Duration-Seconds', ((performance.now() - startedAt) / 1_000).toFixed(6)],
      ['X-Function-Status', String(result.status)],
      ['X-Function-Name', name],
      ['User-Agent', 'queue-worker/local'],
      ['Content-Length', String(result.body.length)],
      ...(result.contentType === undefined ? [] : [['Content-Type', result.contentType] as [string, string]]),
    ];
    const answer = await post(callbackUrl, about.flat(), result.body, 60_000);
    log(`queue | ${name} callback ${answer.status} [${callId}]`);
  }

  async function drain() {
    if (isRunning) return;
    isRunning = true;
    for (let call = waiting.shift(); call !== undefined && !isClosed; call = waiting.shift()) {
      await run(call).catch((error: Error) => log(`queue | callback failed: ${error.message}`));
    }
    isRunning = false;
  }

  return {
    add(call) {
      if (waiting.length >= queueLimits.calls) return false;
      waiting.push(call);
      void drain();
      return true;
    },
    close() {
      isClosed = true;
    },
  };
}
