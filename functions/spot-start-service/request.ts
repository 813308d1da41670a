import * as z from 'zod/mini';
import { HttpError } from '#shared/errors.ts';
import { parseReferral } from './resolve/referral.ts';
import type { Wait, Wanted } from './service.ts';

const text = z.pipe(
  z.nullish(z.string().check(z.trim(), z.maxLength(2_048))),
  z.transform((value) => value || undefined),
);
const idOrName = z.pipe(
  z.nullish(z.union([z.string().check(z.maxLength(256)), z.number()])),
  z.transform((value) => (value === undefined || value === null ? undefined : String(value).trim() || undefined)),
);
const flag = z.nullish(z.union([z.boolean(), z.enum(['true', 'false', '1', '0', ''])]));
const bodySchema = z.object({
  service: text,
  referral_url: text,
  endpoint: idOrName,
  stack_id: idOrName,
  do: z.nullish(z.enum(['start', 'status', 'stop', 'restart'])),
  wait: z.nullish(z.union([z.number(), z.boolean(), z.string().check(z.trim(), z.maxLength(16))])),
  dry_run: flag,
});

export interface SpotRequest {
  wanted: Wanted;
  /** As the caller spelled it, for messages. */
  shown: string;
  do: 'start' | 'status' | 'stop' | 'restart';
  wait: Wait;
  dryRun: boolean;
}

const expected: Record<string, string> = {
  do: 'do must be start, status, stop or restart',
  dry_run: 'dry_run must be true or false',
  wait: 'wait must be true or a number of seconds',
};

/** `0` fires, a number of seconds or `true` waits for health that long, nothing waits for Portainer's call. */
function parseWait(wait: string | number | boolean | null | undefined): Wait {
  if (wait === undefined || wait === null || wait === '') return { until: 'returned' };
  if (wait === true || wait === 'true') return { until: 'healthy', forMs: Number.POSITIVE_INFINITY };
  const seconds = wait === false || wait === 'false' ? 0 : Number(wait);
  if (!Number.isFinite(seconds) || seconds < 0) throw new HttpError(400, expected.wait ?? '', { code: 'invalid_body' });
  return seconds === 0 ? { until: 'fired' } : { until: 'healthy', forMs: seconds * 1000 };
}

/** As the caller spelled it, without what may be a secret: credentials, query and fragment are neither logged nor shown. */
const toShown = (referralUrl: string) =>
  referralUrl.replace(/[?#].*$/s, '').replace(/^([a-z][a-z0-9+.-]*:\/\/|\/\/)?[^/\\]*@/i, '$1');

/** The body's fields; a referral_url wins over a service. Throws HttpError 400. */
export function parseRequest(body: unknown): SpotRequest {
  const parsed = z.safeParse(bodySchema, body);
  if (!parsed.success) {
    const field = parsed.error.issues[0]?.path.join('.') ?? '';
    const message = field === '' ? 'The request body must be a JSON object' : `${field} must be a short text`;
    throw new HttpError(400, expected[field] ?? message, { code: 'invalid_body' });
  }
  const { service, referral_url: referralUrl, endpoint, stack_id: stackId, dry_run: dryRun } = parsed.data;
  const common = {
    do: parsed.data.do ?? 'start',
    wait: parseWait(parsed.data.wait),
    dryRun: dryRun === true || dryRun === 'true' || dryRun === '1',
  } as const;
  if (referralUrl !== undefined) return { wanted: parseReferral(referralUrl), shown: toShown(referralUrl), ...common };
  if (service !== undefined) return { wanted: { service, endpoint, stackId }, shown: service, ...common };
  if (stackId !== undefined) return { wanted: { endpoint, stackId }, shown: `stack ${stackId}`, ...common };
  throw new HttpError(400, 'Service name or referral URL is required', { code: 'service_required' });
}
