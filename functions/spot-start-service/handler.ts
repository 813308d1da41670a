import * as z from 'zod';
import { HttpError } from '#shared/errors.ts';
import { readJson } from '#shared/http/body.ts';
import type { FunctionHandler } from '#shared/http/define.ts';
import type { Problem } from '#shared/http/problem.ts';
import { json } from '#shared/http/respond.ts';
import type { Discovery, Target, Wanted } from './discover.ts';
import { parseReferralHost } from './hosts.ts';
import type { Outcome, Starter } from './start.ts';

const text = z
  .string()
  .trim()
  .max(2_048)
  .nullish()
  .transform((value) => value || undefined);
const idOrName = z
  .union([z.string(), z.number()])
  .nullish()
  .transform((value) => (value === undefined || value === null ? undefined : String(value).trim() || undefined));
const bodySchema = z.object({ service: text, referral_url: text, endpoint: idOrName, stack_id: idOrName });

/** The shape of this function's errors: `success` and `message` are read by flows, `error` as everywhere. */
export const errorBody = ({ message, code }: Problem, callId: string) => ({
  success: false,
  message,
  error: message,
  code,
  call_id: callId,
});

/** The body's fields; a referral_url wins over a service. Throws HttpError 400. */
export function parseWanted(body: unknown): Wanted & { shown: string } {
  const parsed = bodySchema.safeParse(body);
  if (!parsed.success) {
    const field = parsed.error.issues[0]?.path.join('.') ?? '';
    const message = field === '' ? 'The request body must be a JSON object' : `${field} must be a short text`;
    throw new HttpError(400, message, { code: 'invalid_body' });
  }
  const { service, referral_url: referralUrl, endpoint, stack_id: stackId } = parsed.data;
  if (referralUrl !== undefined) return { host: parseReferralHost(referralUrl), shown: referralUrl };
  if (service !== undefined) return { service, endpoint, stackId, shown: service };
  throw new HttpError(400, 'Service name or referral URL is required', { code: 'service_required' });
}

function toMessage(name: string, { action, status }: Outcome): string {
  if (action === 'start') return `Service ${name} successfully started`;
  if (action === 'restart') return `Service ${name} successfully restarted`;
  return status === 'healthy'
    ? `Service ${name} is already running and healthy`
    : `Service ${name} is already starting`;
}

const idText = (id: number | null) => (id === null ? null : String(id));
const toCandidate = ({ name, endpoint, stackId }: Target) => ({
  service: name,
  endpoint: endpoint.name,
  stack_id: idText(stackId),
});

/** POST / with `{"service"}` or `{"referral_url"}`: finds the stack, and starts or heals it. */
export function createHandler(dependencies: { discovery: Pick<Discovery, 'find'>; start: Starter }): FunctionHandler {
  return async (event, { log, signal, callId }) => {
    if (event.method !== 'POST') {
      throw new HttpError(405, `Method ${event.method} not allowed`, {
        code: 'method_not_allowed',
        headers: { Allow: 'POST' },
      });
    }
    const { shown, ...wanted } = parseWanted(await readJson(event, 64 * 1024));
    const targets = await dependencies.discovery.find(wanted, { log, signal });
    const [target] = targets;
    if (target === undefined) {
      const what =
        wanted.host === undefined ? `No service named ${shown}` : `No service found for referral URL: ${shown}`;
      throw new HttpError(404, what, { code: 'service_not_found' });
    }
    if (targets.length > 1) {
      const message = `More than one service is meant by ${shown}: name one by service, endpoint and stack_id`;
      const problem = { status: 409, message, code: 'ambiguous_service', headers: {} };
      return json(409, { ...errorBody(problem, callId), candidates: targets.map(toCandidate) });
    }
    const outcome = await dependencies.start(target, log);
    const { status } = outcome;
    return json(200, {
      success: true,
      message: toMessage(target.name, outcome),
      details: { ...toCandidate(target), ...(status === undefined ? {} : { status }) },
      action: outcome.action,
      endpoint_id: String(target.endpoint.id),
      stack_id: idText(target.stackId),
    });
  };
}
