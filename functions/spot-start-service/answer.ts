import type { Problem } from '#shared/http/problem.ts';
import type { SpotRequest } from './request.ts';
import type { Candidate } from './resolve/match.ts';
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

/** After a start that nobody could look at, the state is not known, and so it is not told. */
const toStatus = ({ verdict, action }: WakeResult) =>
  verdict !== 'removed' ? { status: verdict } : action === 'none' || action === 'stop' ? { status: 'stopped' } : {};

/** The predecessor's fields with ids as text. */
export function toBody(found: Candidate, result: WakeResult, message: string) {
  const { action, failure } = result;
  return {
    success: true,
    message,
    details: { ...toCandidate(found), ...toStatus(result) },
    action,
    endpoint_id: String(found.endpoint.id),
    stack_id: idText(found.stackId),
    ...(failure === undefined ? {} : { last_failure: failure.message }),
  };
}

const past = { none: 'left alone', start: 'started', restart: 'restarted', stop: 'stopped' } as const;

export function toMessage(
  name: string,
  { action, verdict, finished }: WakeResult,
  { do: wanted, dryRun }: Pick<SpotRequest, 'do' | 'dryRun'>,
): string {
  if (wanted === 'status') return `Service ${name} is ${verdict === 'removed' ? 'stopped' : verdict}`;
  if (dryRun) return `Service ${name} would be ${past[action]}`;
  if (!finished) return `Service ${name} is ${action === 'stop' ? 'stopping' : 'starting'}`;
  if (action !== 'none') return `Service ${name} successfully ${past[action]}`;
  return verdict === 'healthy'
    ? `Service ${name} is already running and healthy`
    : `Service ${name} is already starting`;
}
