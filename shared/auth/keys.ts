import { createHmac, hash, timingSafeEqual } from 'node:crypto';

const digest = (text: string) => hash('sha256', text, 'buffer');

/** Constant time for any two lengths: digests are compared, never the texts. */
export function equalSecrets(left: string, right: string): boolean {
  return timingSafeEqual(digest(left), digest(right));
}

interface KnownKey {
  name: string;
  digest: Buffer;
}

function parseKeys(lines: string): KnownKey[] {
  return lines.split(/\r?\n/).flatMap((line) => {
    const colon = line.indexOf(':');
    const key = line.slice(colon + 1).trim();
    return key === '' ? [] : [{ name: colon === -1 ? 'default' : line.slice(0, colon).trim(), digest: digest(key) }];
  });
}

// The secret is the same text on every call until it is rotated.
let parsed: { lines: string; keys: KnownKey[] } = { lines: '', keys: [] };

/**
 * The name of the caller whose key was presented, or undefined. `lines` is the secret `function-api-key`: one
 * `name:key` a line, split at the first colon; a line without a colon is a key of the caller `default`.
 * Every line is compared, so that time does not tell which one matched.
 */
export function findCaller(lines: string, presented: string): string | undefined {
  if (parsed.lines !== lines) parsed = { lines, keys: parseKeys(lines) };
  const wanted = digest(presented);
  let found: string | undefined;
  for (const known of parsed.keys) {
    if (timingSafeEqual(known.digest, wanted)) found = known.name;
  }
  return found;
}

/** `sha256=<hex>` over the raw bytes, as GitHub, faas-cli (since 0.17.1) and our own webhooks send it. */
export function signBody(body: Buffer | string, secret: string): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
}
