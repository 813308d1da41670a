import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** A secret that is read when it is needed, so that a rotated file works without a restart. */
export interface Secret {
  /** kebab-case, as `faas-cli secret create` takes it. */
  readonly name: string;
  /** The value without surrounding white space (`--from-file` keeps a trailing newline); undefined when it is not set. */
  read(): string | undefined;
}

// The file is looked at this often at most: a stat on every call would cost more than the comparison that follows it.
const recheckMs = 1_000;

/**
 * A file of that name under `SECRET_MOUNT_PATH` (default /var/openfaas/secrets), else the environment variable in
 * upper snake case (`litellm-api-key` or `LITELLM_API_KEY`). Empty means unset.
 */
export function readSecret(name: string, env: NodeJS.ProcessEnv, now: () => number = Date.now): Secret {
  const path = join(env.SECRET_MOUNT_PATH || '/var/openfaas/secrets', name);
  const fallback = env[name.toUpperCase().replaceAll('-', '_')]?.trim() || undefined;
  let checkedAt = Number.NEGATIVE_INFINITY;
  let version = '';
  let value: string | undefined;

  return {
    name,
    read() {
      if (now() - checkedAt < recheckMs) return value ?? fallback;
      checkedAt = now();
      try {
        // Kubernetes swaps a link to a new file, faasd writes the same one: inode, size and time tell both.
        const { ino, size, mtimeMs } = statSync(path);
        const found = `${ino}:${size}:${mtimeMs}`;
        if (found !== version) {
          value = readFileSync(path, 'utf8').trim() || undefined;
          version = found;
        }
      } catch {
        value = undefined;
        version = '';
      }
      return value ?? fallback;
    },
  };
}
