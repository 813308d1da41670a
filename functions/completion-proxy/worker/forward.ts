import type { Readable } from 'node:stream';
import type { Pool } from 'undici';
import type { Secret } from '#shared/config/secrets.ts';
import type { FunctionContext, FunctionEvent, FunctionResponse } from '#shared/http/function.ts';
import type { Backend } from '../backends/backend.ts';
import { toBackend } from '../backends/make.ts';
import { toBackendHeaders, toCallerHeaders } from '../headers.ts';
import type { WorkerCall } from './read-call.ts';

export type Forward = (
  call: WorkerCall,
  event: FunctionEvent,
  context: FunctionContext,
) => Promise<FunctionResponse & { headers: [string, string][]; body: Readable }>;

const noLimit = { connectMs: 10_000, firstByteMs: 0, idleMs: 0, totalMs: 0 };
const nobody = { name: '', method: 'none' as const };

/** Sends a call to the model's server on this machine. No time-out but the caller's; nothing is sent twice. */
export function createForward(url: string, credential: Secret) {
  const key = credential.read() === undefined ? undefined : credential;
  const backend: Backend = toBackend(
    { name: 'backend', url, kind: 'plain', credential: key },
    {
      timeouts: noLimit,
      maxConcurrency: Number.POSITIVE_INFINITY,
      cancelOnDisconnect: true,
      forwardAuthorization: true,
      collectStreamUsage: false,
    },
  );
  let opening: Promise<Pool> | undefined;
  async function open(): Promise<Pool> {
    const { Pool } = await import('../backends/undici.ts');
    return new Pool(backend.origin, { headersTimeout: 0, bodyTimeout: 0, maxHeaderSize: 64 * 1024, pipelining: 1 });
  }

  const forward: Forward = async (call, event, { signal, callId }) => {
    opening ??= open();
    const pool = await opening;
    const { body, isUnwrapped, target } = call;
    const headers = toBackendHeaders({ ...event, caller: nobody, callId }, backend, { isBodyAtHand: true });
    if (isUnwrapped) {
      const at = headers.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === 'content-type');
      if (at >= 0) headers.splice(at, 2);
      if (body !== undefined) headers.push('Content-Type', 'application/json');
    }
    const answer = await pool.request({
      path: backend.basePath + target,
      method: event.method as 'GET',
      headers,
      body: body ?? null,
      signal,
      responseHeaders: 'raw',
    });
    const raw = (answer.headers as unknown as string[]).map(String);
    return { status: answer.statusCode, headers: toCallerHeaders(raw, { callId }), body: answer.body };
  };

  return {
    forward,
    async askHealth(path: string, signal: AbortSignal, timeoutMs: number): Promise<number> {
      opening ??= open();
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
      const { statusCode, body } = await (await opening).request({
        path: backend.basePath + path,
        method: 'GET',
        headers: key === undefined ? [] : ['Authorization', `Bearer ${key.read()}`],
        signal: deadline,
      });
      await body.dump();
      return statusCode;
    },
    headers: (): Record<string, string> => (key === undefined ? {} : { Authorization: `Bearer ${key.read()}` }),
    async close(): Promise<void> {
      await (await opening)?.close();
    },
  };
}
