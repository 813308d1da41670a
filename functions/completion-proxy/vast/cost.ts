import type { IncomingHttpHeaders } from 'node:http';

type Fields = Record<string, unknown>;

const fieldsOf = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {});

/** What the predecessors and the servers call the most that is made: tokens, or steps of a picture. */
function workOf(payload: unknown): unknown[] {
  const body = fieldsOf(payload);
  return [
    body.max_completion_tokens,
    body.max_tokens,
    body.max_output_tokens,
    body.max_new_tokens,
    fieldsOf(body.parameters).max_new_tokens,
    fieldsOf(body.options).num_predict,
    body.n_predict,
    body.steps,
  ];
}

const isCost = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value > 0 && value <= 1e12;

/** What the autoscaler is told a call costs: `X-Serverless-Cost`, else the most that it may make, else `fallback`. */
export function costOf(headers: IncomingHttpHeaders, payload: unknown, fallback: number): number {
  const given = headers['x-serverless-cost'];
  if (given !== undefined && isCost(Number(given))) return Number(given);
  return workOf(payload).find(isCost) ?? fallback;
}
