/** A Go duration in milliseconds, as of-watchdog reads it: `1m30s`, `500ms`, or whole seconds; undefined for anything else. */
export function parseGoDuration(text = ''): number | undefined {
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  if (!/^(\d+(\.\d+)?(ms|h|m|s))+$/.test(text)) return undefined;
  const unitMs: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  let sum = 0;
  for (const [, value, unit] of text.matchAll(/([\d.]+)(ms|h|m|s)/g)) sum += Number(value) * unitMs[unit!]!;
  return sum;
}

/** The server's own settings. Empty means unset. Throws an error that names every bad one and shows no value. */
export function parseServerSettings(env: NodeJS.ProcessEnv) {
  const problems: string[] = [];
  const integer = (name: string, fallback: number, max: number) => {
    const text = env[name]?.trim();
    if (!text) return fallback;
    if (!/^\d{1,16}$/.test(text) || Number(text) > max) {
      problems.push(`${name}: must be a whole number from 0 to ${max}`);
    }
    return Number(text);
  };
  const settings = {
    host: env.HOST?.trim() || '127.0.0.1',
    port: integer('PORT', 3000, 65_535),
    headersMs: integer('HEADERS_TIMEOUT_MS', 60_000, 86_400_000),
    bodyIdleMs: integer('BODY_IDLE_TIMEOUT_MS', 60_000, 86_400_000),
    maxBodyBytes: integer('MAX_BODY_BYTES', 100 * 1024 * 1024, Number.MAX_SAFE_INTEGER),
  };
  if (problems.length > 0) {
    throw Object.assign(new Error(`Bad configuration: ${problems.join('; ')}`), { name: 'ConfigError' });
  }
  return settings;
}
