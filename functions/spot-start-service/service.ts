import type { Logger } from '#shared/http/function.ts';
import type { Candidate, Found } from './resolve/match.ts';
import type { ContainerClass } from './stack/containers.ts';
import type { Verdict } from './stack/decide.ts';

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

export type { Verdict };

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

export interface WakeOptions {
  wait: Wait;
  /** Says what would be done, and does nothing. */
  dryRun?: boolean | undefined;
}

export interface WakeResult extends ServiceState {
  action: Action;
  /** False: the deadline passed or nobody wanted to wait; the start goes on. */
  finished: boolean;
  /** Of a dry run: the steps in their order. */
  plan?: string[] | undefined;
}

export interface ListedService extends Candidate {
  verdict: Verdict | 'unsupported' | 'unknown';
  /** May be started by this function: not opted out, of a kind that can be started, labelled where that is asked for. */
  startable: boolean;
}

/** What every route stands on. */
export interface SpotService {
  /** The one service that is meant. Throws HttpError 404 `service_not_found`, 409 `ambiguous_service` with candidates. */
  resolve(wanted: Wanted, scope: Scope): Promise<Found>;
  /** A look, which changes nothing. Looks within half a second are one. */
  status(candidate: Candidate, scope: Scope): Promise<ServiceState>;
  /**
   * Starts or heals. Calls for one service share one start, which goes on when its callers leave. Throws HttpError for
   * what is refused and for a start that failed.
   */
  wake(candidate: Candidate, options: WakeOptions, scope: Scope): Promise<WakeResult>;
  /** Stop and restart, where SPOT_START_ALLOW_STOP allows them; else HttpError 403 `stop_not_allowed`. */
  change(candidate: Candidate, options: { what: 'stop' | 'restart'; wait: Wait }, scope: Scope): Promise<WakeResult>;
  list(scope: Scope): Promise<ListedService[]>;
}
