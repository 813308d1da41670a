import { HttpError, UpstreamError } from '#shared/errors.ts';
import type { Logger } from '#shared/http/function.ts';
import type { Candidate } from '../resolve/match.ts';
import { type Jobs, keyOf } from './jobs.ts';
import type { Observation, Observe } from './observe.ts';

// A page open in ten browsers asks Portainer once.
const keepMs = 500;

/** 404 `service_not_found` for what was found in the index and is no longer there: the index was old. */
export class GoneError extends HttpError {
  constructor({ name }: Candidate) {
    super(404, `Service ${name} is no longer there`, { code: 'service_not_found' });
  }
}

export interface LooksOptions {
  observe: Observe;
  jobs: Pick<Jobs<unknown>, 'ended'>;
  /** Called when a look finds nothing where the index has something. */
  onGone: () => void;
  now: () => number;
}

/** Looks at services, shared by those who want one at the same time. Both throw GoneError. */
export function createLooks({ observe, jobs, onGone, now }: LooksOptions) {
  const kept = new Map<string, { atMs: number; seen: Promise<Observation> }>();
  const going = new Map<string, { seen: Promise<Observation>; ended: number }>();

  async function read(candidate: Candidate, log: Logger): Promise<Observation> {
    try {
      return await observe(candidate, log);
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.status !== 404) throw error;
      onGone();
      throw new GoneError(candidate);
    }
  }

  return {
    /** For those who only watch: half a second old at most. */
    look(candidate: Candidate, log: Logger): Promise<Observation> {
      const key = keyOf(candidate);
      const before = kept.get(key);
      if (before !== undefined && now() - before.atMs < keepMs) return before.seen;
      const seen = read(candidate, log);
      if (kept.size > 1_000) kept.clear();
      kept.set(key, { atMs: now(), seen });
      seen.catch(() => kept.delete(key));
      return seen;
    },

    /** For those who act on it. `ended` tells how many jobs had ended when it began. */
    lookNow(candidate: Candidate, log: Logger): { seen: Promise<Observation>; ended: number } {
      const key = keyOf(candidate);
      const before = going.get(key);
      if (before !== undefined) return before;
      const seen = read(candidate, log).finally(() => going.delete(key));
      const begun = { seen, ended: jobs.ended() };
      going.set(key, begun);
      return begun;
    },
  };
}
