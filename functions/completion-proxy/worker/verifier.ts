import type { KeyObject } from 'node:crypto';
import type { Logger } from '#shared/http/function.ts';
import { sleep as realSleep } from '#shared/retry.ts';
import type { AuthData } from '../vast/auth-data.ts';
import { matchingForm, parsePublicKey, type SignatureForm, signedMessage } from '../vast/signature.ts';

export interface VerifierOptions {
  /** The PEM of one of the addresses. */
  fetchKey: (signal: AbortSignal) => Promise<string>;
  forms: readonly SignatureForm[];
  /** A signature that does not match may mean a new key: it is asked for at most this often. */
  refreshEveryMs: number;
  log: Logger;
  now?: () => number;
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

const longestWaitMs = 30_000;

/** `no-key`: nobody can tell yet. `no`: the signature is wrong. */
export type Verdict = SignatureForm | 'no' | 'no-key';

/** Checks signatures with the autoscaler's key. The key is asked for until it is there, and again when it may be new. */
export function createVerifier({ fetchKey, forms, refreshEveryMs, log, ...options }: VerifierOptions) {
  const { now = Date.now, sleep = realSleep } = options;
  const stop = new AbortController();
  let key: KeyObject | undefined;
  let askedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;

  async function ask(): Promise<void> {
    askedAt = now();
    key = parsePublicKey(await fetchKey(stop.signal));
  }

  async function start(): Promise<void> {
    for (let attempt = 0; key === undefined && !stop.signal.aborted; attempt++) {
      try {
        await ask();
        log.info('the public key is here');
      } catch (error) {
        log.warn('the public key did not come: calls cannot be checked', { reason: (error as Error).message });
        const waitMs = Math.min(longestWaitMs, 1_000 * 2 ** attempt);
        // It rejects only when the worker stops, which the loop sees.
        await sleep(waitMs, stop.signal).catch(() => {});
      }
    }
  }

  async function refresh(): Promise<void> {
    if (now() - askedAt < refreshEveryMs) return asking;
    asking = ask()
      .catch((error: Error) => log.warn('the public key could not be asked for again', { reason: error.message }))
      .finally(() => {
        asking = undefined;
      });
    return asking;
  }

  return {
    start,
    async verify(auth: AuthData): Promise<Verdict> {
      if (key === undefined) return 'no-key';
      const form = matchingForm(key, auth, forms);
      if (form !== undefined) return form;
      const before = key;
      await refresh();
      if (key === before) return 'no';
      return matchingForm(key, auth, forms) ?? 'no';
    },
    close: () => stop.abort(),
  };
}

export type Verifier = ReturnType<typeof createVerifier>;

const window = 100;

/** Whether the number of the call is signed. Else its holder could write one that shuts everybody else out. */
const coversNumber = (form: SignatureForm | undefined) => form !== undefined && form !== 'url';

/** Refuses tickets that were used: signed numbers far behind the highest one, and those among the last hundred. */
export function createReplayCheck() {
  let highest = Number.NEGATIVE_INFINITY;
  const seen = new Set<string>();
  return {
    /** `form` is the one of the ticket's signature; undefined where nobody looked. */
    isReplay(auth: AuthData, form: SignatureForm | undefined): boolean {
      if (coversNumber(form) && Number(auth.reqnum) < highest - window) return true;
      // Every field, whatever the signature is over.
      return seen.has(signedMessage('five-fields', auth));
    },
    /** Once the call is let in: one that was refused for the queue may come again. */
    note(auth: AuthData, form: SignatureForm | undefined): void {
      if (coversNumber(form)) highest = Math.max(highest, Number(auth.reqnum));
      seen.add(signedMessage('five-fields', auth));
      if (seen.size > window) seen.delete(seen.values().next().value!);
    },
  };
}
