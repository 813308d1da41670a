import type { Logger } from '#shared/http/function.ts';
import type { ContainerClass } from './containers.ts';
import type { Candidate, Found } from './resolve.ts';

/** One call: who listens, and until when it may wait. */
export interface Scope {
  log: Logger;
  signal: AbortSignal;
  /** By the function's clock; counted from the arrival of the call. */
  endsAtMs: number;
}

/** What a caller named. A host wins over a service. */
export interface Wanted {
  /** As the caller spelled it, for messages. */
  shown?: string | undefined;
  service?: string | undefined;
  /** Of the URL that a visitor wanted; its path decides where several stacks share a host. */
  host?: string | undefined;
  path?: string | undefined;
  endpoint?: string | undefined;
  stackId?: string | undefined;
}

/**
 * What the containers of a service do, as one word. `deploying`: Portainer works on the stack; `removed`: it has no
 * container, which is what Portainer's stop leaves.
 */
export type Verdict = 'healthy' | 'starting' | 'deploying' | 'stopped' | 'removed' | 'partial' | 'unhealthy';

export interface ContainerState {
  name: string;
  service: string;
  /** Docker's word: running, exited, created, paused, restarting, dead. */
  state: string;
  health: 'none' | 'starting' | 'healthy' | 'unhealthy';
  class: ContainerClass;
}

/** A sentence that is safe to show, and its code. */
export interface Failure {
  code: string;
  message: string;
  atMs: number;
}

export interface ServiceState {
  verdict: Verdict;
  containers: ContainerState[];
  /** A start of this process is under way: what it does. */
  inProgress?: 'start' | 'restart' | 'stop' | undefined;
  /** Why the last start by this process failed; gone with the next one. */
  failure?: Failure | undefined;
}

export type Action = 'none' | 'start' | 'restart' | 'stop';

/** How long `wake` waits: not at all, until Portainer's call returned, or until the service is healthy. */
export type Wait = { until: 'fired' } | { until: 'returned' } | { until: 'healthy'; forMs: number };

export interface WakeResult extends ServiceState {
  action: Action;
  /** False: the deadline passed or nobody wanted to wait; the start goes on. */
  finished: boolean;
}

/** What every route stands on. */
export interface SpotService {
  /** The one service that is meant. Throws HttpError 404 `service_not_found`, 409 `ambiguous_service` with candidates. */
  resolve(wanted: Wanted, scope: Scope): Promise<Found>;
  /** A look, which changes nothing. */
  status(candidate: Candidate, scope: Scope): Promise<ServiceState>;
  /**
   * Starts or heals. Calls for one service share one start, which goes on when its callers leave. Throws HttpError for
   * what is refused and for a start that failed.
   */
  wake(candidate: Candidate, options: { wait: Wait }, scope: Scope): Promise<WakeResult>;
}
