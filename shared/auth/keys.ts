import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

const digest = (text: string) => createHash('sha256').update(text).digest();

/** Constant time for any two lengths: digests are compared, never the texts. */
export function equalSecrets(left: string, right: string): boolean {
  return timingSafeEqual(digest(left), digest(right));
}

/**
 * The name of the caller whose key was presented, or undefined. `lines` is the secret `function-api-key`: one
 * `name:key` a line, split at the first colon; a line without a colon is a key of the caller `default`.
 * Every line is compared, so that time does not tell which one matched.
 */
export function findCaller(lines: string, presented: string): string | undefined {
  let found: string | undefined;
  for (const line of lines.split(/\r?\n/)) {
    if (line.trim() === '') continue;
    const colon = line.indexOf(':');
    const name = colon === -1 ? 'default' : line.slice(0, colon).trim();
    const key = line.slice(colon + 1).trim();
    if (key !== '' && equalSecrets(key, presented)) found = name;
  }
  return found;
}

/** `sha256=<hex>` over the raw bytes, as GitHub, faas-cli (since 0.17.1) and our own webhooks send it. */
export function signBody(body: Buffer | string, secret: string): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
}
