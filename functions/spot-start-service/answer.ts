import type { Problem } from '#shared/http/problem.ts';
import type { Candidate } from './resolve.ts';
import type { ContainerState, WakeResult } from './service.ts';

/** The shape of this function's errors: `success` and `message` are read by flows, `error` as everywhere. */
export const errorBody = ({ message, code, more }: Problem, callId: string) => ({
  ...more,
  success: false,
  message,
  error: message,
  code,
  call_id: callId,
});

const idText = (id: number | null) => (id === null ? null : String(id));

export const toCandidate = ({ name, endpoint, stackId }: Candidate) => ({
  service: name,
  endpoint: endpoint.name,
  stack_id: idText(stackId),
});

export const toContainer = ({ name, service, state, health, class: status }: ContainerState) => ({
  name,
  service,
  state,
  health,
  status,
});

/** The predecessor's fields with ids as text; `status` is absent while nobody knows it. */
export function toBody(found: Candidate, result: WakeResult, message: string) {
  const known = ['healthy', 'starting', 'unhealthy'].includes(result.verdict);
  return {
    success: true,
    message,
    details: { ...toCandidate(found), ...(known ? { status: result.verdict } : {}) },
    action: result.action,
    endpoint_id: String(found.endpoint.id),
    stack_id: idText(found.stackId),
  };
}

export function toMessage(name: string, { action, verdict, finished }: WakeResult): string {
  if (!finished) return `Service ${name} is starting`;
  if (action === 'start') return `Service ${name} successfully started`;
  if (action === 'restart') return `Service ${name} successfully restarted`;
  return verdict === 'healthy'
    ? `Service ${name} is already running and healthy`
    : `Service ${name} is already starting`;
}
