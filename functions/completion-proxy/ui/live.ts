import type { Upstream } from '../backends/upstream.ts';
import type { CallUnderWay, Running } from '../records/record.ts';

/** A backend as a person asks after it. Its address stays with us. */
export interface BackendNow {
  name: string;
  kind: string;
  /** What the health check found last; true where nothing is checked. */
  healthy: boolean;
  breaker: string;
  /** When the breaker lets the next call through; null while it lets every call through. */
  open_until: string | null;
  /** Only for who sees everybody's calls: */
  in_flight?: number;
  /** Calls at a time; null is no limit. */
  places?: number | null;
  waiting?: number;
}

/** What goes on at this replica. */
export interface Now {
  /** By our clock, for who counts the seconds of a call. */
  time: string;
  /** The oldest, a hundred of them at most; `calls` counts all. */
  running: CallUnderWay[];
  calls: number;
  backends: BackendNow[];
}

export interface LiveParts {
  /** The oldest first. */
  running: Iterable<Running>;
  upstreams: readonly Upstream[];
  /** ms since 1970. */
  now: () => number;
}

const maxShown = 100;

function toBackendNow({ backend, breaker, gate, healthy }: Upstream, now: number, isAdmin: boolean): BackendNow {
  const { name, kind, maxConcurrency } = backend;
  const waitMs = breaker.isOpen ? breaker.waitMs() : 0;
  // In whole seconds: else it would be news at every look.
  const openUntil = waitMs > 0 ? new Date(Math.round((now + waitMs) / 1_000) * 1_000).toISOString() : null;
  const load = {
    in_flight: gate.active,
    places: Number.isFinite(maxConcurrency) ? maxConcurrency : null,
    waiting: gate.waiting,
  };
  return { name, kind, healthy, breaker: breaker.state, open_until: openUntil, ...(isAdmin ? load : {}) };
}

/** The calls under way, of one caller or of everybody (undefined), and how the backends are. */
export function lookNow({ running, upstreams, now }: LiveParts, caller: string | undefined): Now {
  const at = now();
  const shown: CallUnderWay[] = [];
  let calls = 0;
  for (const call of running) {
    if (caller !== undefined && call.caller !== caller) continue;
    calls += 1;
    if (shown.length < maxShown) shown.push(call.describe());
  }
  return {
    time: new Date(at).toISOString(),
    running: shown,
    calls,
    backends: upstreams.map((upstream) => toBackendNow(upstream, at, caller === undefined)),
  };
}
