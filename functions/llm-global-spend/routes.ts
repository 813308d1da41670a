import type { CallContext } from '#shared/http/define.ts';
import type { FunctionEvent, FunctionResponse } from '#shared/http/function.ts';
import type { Format, SpendQuery } from './report/query.ts';

export interface RouteCall {
  event: FunctionEvent;
  /** `signal` aborts at the deadline of the whole answer, too. */
  context: CallContext;
}

/** True for a person who opens an address: programs do not ask for HTML first. */
export const isBrowser = ({ method, headers }: FunctionEvent) =>
  method === 'GET' && /^[^,]*text\/html/i.test(headers.accept ?? '');

/** A path of its own, such as `GET /budgets`; it reads its parameters itself. */
export type Route = (call: RouteCall) => Promise<FunctionResponse>;

/** One of the formats of a report. It gets the checked query, and reads as many reports for it as it shows. */
export type Renderer = (query: SpendQuery, call: RouteCall) => Promise<FunctionResponse>;

export interface RoutingTable {
  /** By method and path: `GET /budgets`. */
  routes: Record<string, Route>;
  renderers: Partial<Record<Format, Renderer>>;
  /** The answer to a scheduled tick. */
  tick?: Route;
}
