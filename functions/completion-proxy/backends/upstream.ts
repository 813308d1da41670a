import type { Dispatcher } from 'undici';
import { Gate, type GateOptions } from '../road/admission.ts';
import { Breaker, type BreakerOptions } from '../road/breaker.ts';
import type { Backend } from './backend.ts';

/** A backend as it is right now. */
export interface Upstream {
  readonly backend: Backend;
  readonly gate: Gate;
  readonly breaker: Breaker;
  /** What the health check found last; true until it found otherwise. */
  healthy: boolean;
}

export interface UpstreamOptions {
  breaker: Omit<BreakerOptions, 'clock'>;
  gate: Omit<GateOptions, 'clock' | 'maxConcurrency'>;
  clock: () => number;
}

export function createUpstream(backend: Backend, { breaker, gate, clock }: UpstreamOptions): Upstream {
  return {
    backend,
    gate: new Gate({ ...gate, maxConcurrency: backend.maxConcurrency, clock }),
    breaker: new Breaker({ ...breaker, clock }),
    healthy: true,
  };
}

export const isAvailable = ({ healthy, breaker }: Upstream) => healthy && !breaker.isOpen;

/** What can carry a request; undici's Pool is one. */
export type Carrier = Pick<Dispatcher, 'dispatch'>;

/** The way to a backend. The first call of all may have to wait for it. */
export type FindCarrier = (backend: Backend) => Carrier | Promise<Carrier>;
