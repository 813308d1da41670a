import type { Dispatcher } from 'undici';
import { type Backend, credentialFields } from './backend.ts';
import type { FindCarrier } from './upstream.ts';

export interface Asked {
  status: number;
  body: string;
}

const maxBytes = 4 * 1024 * 1024;

/** A small question of our own to a backend: its health, its models. Rejects when there is no answer within `timeoutMs`. */
export async function askBackend(
  find: FindCarrier,
  backend: Backend,
  question: { path: string; headers?: string[]; timeoutMs: number },
): Promise<Asked> {
  const carrier = await find(backend);
  const headers = ['Accept', 'application/json', ...(question.headers ?? [])];
  const key = backend.credential?.read();
  if (key !== undefined) {
    const { name, value } = credentialFields(backend, key);
    headers.push(name, value);
  }
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    let status = 0;
    let controller: Dispatcher.DispatchController | undefined;
    const stop = (reason: string) => {
      const error = new Error(reason);
      controller?.abort(error);
      reject(error);
    };
    const timer = setTimeout(stop, question.timeoutMs, 'no answer in time');
    carrier.dispatch(
      { path: backend.basePath + question.path, method: 'GET', headers },
      {
        onRequestStart(started) {
          controller = started;
        },
        onResponseStart(_controller, answered) {
          status = answered;
        },
        onResponseData(_controller, chunk) {
          bytes += chunk.length;
          chunks.push(chunk);
          if (bytes > maxBytes) stop('the answer is too long');
        },
        onResponseEnd() {
          clearTimeout(timer);
          resolve({ status, body: Buffer.concat(chunks).toString('utf8') });
        },
        onResponseError(_controller, error) {
          clearTimeout(timer);
          reject(error);
        },
      },
    );
  });
}
