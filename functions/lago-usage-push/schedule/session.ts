import { HttpError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import { sleep as wait } from '#shared/retry.ts';
import type { Lease, Store } from '#shared/store/store.ts';
import type { DeliverContext } from '../delivery/deliver.ts';
import type { HeldCalls } from '../delivery/held.ts';
import { toMark } from '../delivery/memory.ts';
import type { Report } from './report.ts';
import { readState, type State, writeState } from './state.ts';

/** Short, so that the next run after a kill begins before Lago closes a period; renewed while a run lives. */
const leaseMs = 30_000;
const beatMs = 8_000;

export interface SessionOptions {
  /** Whether Lago has events from before the first run of this store; asked once. */
  lagoIsEmpty: (signal?: AbortSignal) => Promise<boolean>;
  store: Pick<Store, 'kv' | 'lease'>;
  stateKey: string;
  held: HeldCalls;
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

/** The state while nobody else may change it. */
export interface Session {
  state: State;
  context: DeliverContext;
  /** The last one was killed at work. */
  followsKill: boolean;
  /** Writes the state; throws HttpError 409 `lease_lost` when another works on it by now. */
  save(): Promise<void>;
}

async function takeLease({ store, sleep = wait }: SessionOptions, patienceMs: number, signal: AbortSignal | undefined) {
  const stepMs = 100;
  for (let waited = 0; ; waited += stepMs) {
    const lease = await store.lease('run', leaseMs);
    if (lease !== null) return lease;
    if (waited >= patienceMs) {
      throw new HttpError(409, 'Another run is at work: its summary tells what it did', { code: 'run_in_progress' });
    }
    await sleep(stepMs, signal);
  }
}

function keepAlive(lease: Lease): { isLost(): boolean; stop(): void } {
  let lost = false;
  const timer = setInterval(() => {
    // A store that fails for a moment loses nothing yet: the lease lasts for some beats.
    lease.renew().then(
      (kept) => {
        lost ||= !kept;
      },
      () => undefined,
    );
  }, beatMs);
  timer.unref();
  return { isLost: () => lost, stop: () => clearInterval(timer) };
}

/**
 * Holds the lease around some deliveries, one at a time over all replicas. `isSettled` in what `work`
 * resolves with says that everything from the beginning on has been gone through.
 */
export async function withSession<T extends { isSettled: boolean }>(
  options: SessionOptions,
  call: { report: Report; log: Logger; signal?: AbortSignal | undefined; patienceMs?: number },
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const { store, stateKey, held } = options;
  const { report, log, signal, patienceMs = 0 } = call;
  const lease = await takeLease(options, patienceMs, signal);
  const beat = keepAlive(lease);
  try {
    const state = await readState(store.kv, stateKey);
    const save = async () => {
      if (beat.isLost() || !(await lease.renew())) {
        throw new HttpError(409, 'Another run took over while this one stood still', { code: 'lease_lost' });
      }
      await writeState(store.kv, stateKey, state);
    };
    const followsKill = state.isRunning === true;
    // A store that was lost looks like a new one: Lago tells them apart.
    if (state.isUncertain && state.isRunning === undefined) state.isUncertain = !(await options.lagoIsEmpty(signal));
    const inDoubt = new Set(state.inDoubt);
    const context: DeliverContext = {
      report,
      log,
      signal,
      isInDoubt: (call) => state.isUncertain || inDoubt.has(toMark(call)),
      async intend(calls) {
        for (const call of calls) inDoubt.add(toMark(call));
        state.inDoubt = [...inDoubt];
        await save();
      },
      conclude(calls) {
        for (const call of calls) inDoubt.delete(toMark(call));
        state.inDoubt = [...inDoubt];
      },
      hold: (calls) => held.hold(state.held, calls),
    };
    state.isRunning = true;
    await save();
    try {
      const result = await work({ state, context, followsKill, save });
      if (result.isSettled) state.isUncertain = false;
      return result;
    } finally {
      state.isRunning = false;
      await save();
    }
  } finally {
    beat.stop();
    await lease.release();
  }
}
