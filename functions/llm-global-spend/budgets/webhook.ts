import { signBody } from '#shared/auth/keys.ts';
import { createHttpClient } from '#shared/clients/http.ts';
import type { Alert } from './alert.ts';
import { type AlertFormat, toPayload } from './payload.ts';

export interface WebhookOptions {
  /** Read for each post. It is a secret: who knows the URL of a Slack webhook may write there. */
  url: () => string | undefined;
  /** Signs the body as `X-Hub-Signature-256`, where there is one. */
  secret: () => string | undefined;
  format: AlertFormat;
  timeoutMs?: number;
}

/** Resolves once the receiver has answered 2xx; throws UpstreamError. It tries once: the next tick is the retry. */
export type PostAlert = (alert: Alert, signal: AbortSignal) => Promise<void>;

export function createPostAlert({ url, secret, format, timeoutMs = 10_000 }: WebhookOptions): PostAlert {
  const client = createHttpClient({ service: 'The alert webhook', baseUrl: '', timeoutMs, attempts: 1 });
  return async (alert, signal) => {
    const payload = toPayload(alert, format);
    const key = secret();
    await client.request({
      method: 'POST',
      path: url() ?? '',
      json: payload,
      headers: {
        // Header values are ASCII; an id holds whatever a team is called.
        'Idempotency-Key': encodeURIComponent(alert.id),
        ...(key === undefined ? {} : { 'X-Hub-Signature-256': signBody(JSON.stringify(payload), key) }),
      },
      signal,
    });
  };
}
