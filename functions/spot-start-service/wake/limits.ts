/** Tokens that come back with time: `burst` at once, then `perMinute`. Every name has its own; names are capped. */
export function createLimit(options: { burst: number; perMinute: number; maxNames?: number; now: () => number }) {
  const { burst, perMinute, maxNames = 5_000, now } = options;
  const buckets = new Map<string, { tokens: number; atMs: number }>();

  /** Seconds to wait before the next one; 0 when this one may go on. */
  return (name: string): number => {
    const atMs = now();
    const known = buckets.get(name);
    const grown = known === undefined ? burst : known.tokens + ((atMs - known.atMs) * perMinute) / 60_000;
    const tokens = Math.min(burst, grown);
    buckets.delete(name);
    // The oldest goes: whoever comes back often is never it.
    if (buckets.size >= maxNames) buckets.delete(buckets.keys().next().value as string);
    buckets.set(name, { tokens: tokens >= 1 ? tokens - 1 : tokens, atMs });
    return tokens >= 1 ? 0 : Math.ceil(((1 - tokens) * 60) / perMinute);
  };
}
