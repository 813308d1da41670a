import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { toBackend } from '../../../functions/completion-proxy/backends/make.ts';
import { type Carrier, createUpstream } from '../../../functions/completion-proxy/backends/upstream.ts';
import type { Gate } from '../../../functions/completion-proxy/road/admission.ts';
import { createRoad } from '../../../functions/completion-proxy/road/road.ts';
import { createLogger } from '../../../shared/log.ts';

const timeouts = { connectMs: 0, firstByteMs: 0, idleMs: 0, totalMs: 0 };

interface Given {
  find: () => Promise<Carrier>;
  cancelOnDisconnect?: boolean;
  signal?: AbortSignal;
  /** Called between an attempt and its repetition. */
  sleep?: (gate: Gate) => void;
}

/** A road with one place at one backend, and a call on it. */
function open({ find, cancelOnDisconnect = true, signal = new AbortController().signal, sleep }: Given) {
  const defaults = { timeouts, maxConcurrency: 1, cancelOnDisconnect, forwardAuthorization: false };
  const backend = toBackend({ name: 'b', url: 'http://b', kind: 'openai' }, { ...defaults, collectStreamUsage: false });
  const upstream = createUpstream(backend, {
    breaker: { failures: 5, windowMs: 1_000, openMs: 1_000 },
    gate: { maxQueue: 0, maxWaitMs: 0 },
    clock: () => 0,
  });
  const road = createRoad({
    upstreams: [upstream],
    find,
    modelAliases: new Map(),
    retryBodyBytes: 1_000,
    ssePingMs: 0,
    retries: 1,
    retryBaseMs: 0,
    retryMaxWaitMs: 0,
    sleep: async () => sleep?.(upstream.gate),
  });
  const answer = road({
    method: 'POST',
    target: '/v1/chat/completions',
    path: '/v1/chat/completions',
    rawHeaders: [],
    headers: {},
    body: Readable.from([]),
    hasBody: false,
    caller: { name: 'ada', method: 'none' },
    callId: 'c',
    signal,
    log: createLogger({ write: () => {} }),
  });
  return { upstream, answer };
}

describe('an attempt', () => {
  it.each([true, false])(
    'asks nothing for a caller who left before it, and keeps no place (cancels: %s)',
    async (cancels) => {
      const gone = new AbortController();
      let asked = 0;
      const carrier: Carrier = {
        dispatch() {
          asked += 1;
          return true;
        },
      };
      const find = async () => {
        gone.abort();
        return carrier;
      };
      const { upstream, answer } = open({ find, cancelOnDisconnect: cancels, signal: gone.signal });
      await expect(answer).rejects.toMatchObject({ failure: 'aborted' });
      expect([asked, upstream.gate.active]).toEqual([0, 0]);
    },
  );

  it('keeps no place where there is no way to the backend', async () => {
    const { upstream, answer } = open({ find: () => Promise.reject(new Error('no way')) });
    await expect(answer).rejects.toThrow('no way');
    expect(upstream.gate.active).toBe(0);
  });

  it('whose repetition finds no place gives an error, and not the answer that was dropped for it', async () => {
    const busy: Carrier = {
      dispatch(_options, handler) {
        const controller = {
          aborted: false,
          paused: false,
          reason: null,
          rawHeaders: [],
          rawTrailers: [],
          pause() {},
          resume() {},
          abort: (error: Error) => handler.onResponseError?.(controller, error),
        };
        handler.onRequestStart?.(controller, {});
        handler.onResponseStart?.(controller, 503, {}, '');
        return true;
      },
    };
    const { answer } = open({ find: async () => busy, sleep: (gate) => gate.tryEnter() });
    await expect(answer).rejects.toMatchObject({ failure: 'status', status: 503 });
  });
});
