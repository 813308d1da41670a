import type { Logger } from '#shared/http/function.ts';
import type { Store } from '#shared/store/store.ts';
import type { Claim } from './claims.ts';

const keepMs = 90 * 86_400_000;

/**
 * What containers said of their hosts while they ran. Files beside the entry point of a Git stack cannot be read, and
 * its containers are gone while it sleeps: with a store other replicas, and this one after a restart, know it too.
 */
export function createMemory(store: Pick<Store, 'kv'> | undefined) {
  const known = new Map<string, { text: string; claims: Claim[] }>();
  const asked = new Set<string>();

  return {
    async remember(key: string, claims: Claim[], log: Logger): Promise<void> {
      const text = JSON.stringify(claims);
      if (known.get(key)?.text === text) return;
      known.set(key, { text, claims });
      await store?.kv
        .put(`seen/${key}`, claims, { ttlMs: keepMs })
        .catch((error) => log.warn('what a service is called could not be stored', { error }));
    },

    async recall(key: string, log: Logger): Promise<Claim[]> {
      const here = known.get(key);
      if (here !== undefined || store === undefined || asked.has(key)) return here?.claims ?? [];
      try {
        const claims = ((await store.kv.get(`seen/${key}`)) ?? []) as Claim[];
        asked.add(key);
        if (claims.length > 0) known.set(key, { text: JSON.stringify(claims), claims });
        return claims;
      } catch (error) {
        log.warn('what a service was called could not be read', { error });
        return [];
      }
    },
  };
}

export type Memory = ReturnType<typeof createMemory>;
