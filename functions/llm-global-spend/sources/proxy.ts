import type { LitellmClient, Scope } from '#shared/clients/litellm.ts';
import { addressAdvice, isMissingRoute } from '#shared/clients/litellm-advice.ts';
import type { UpstreamError } from '#shared/errors.ts';
import type { PicoUsd } from '#shared/money.ts';
import type { Store } from '#shared/store/store.ts';
import { floatNoise } from '../cells/cell.ts';
import { type Day, nextDay } from '../days.ts';

/** Routes that some versions lack; `/spend/logs` has always been there. */
export type Capability = 'aggregated' | 'activity' | 'rows';

/** Where the daily tables begin. */
export interface DailyHistory {
  /** The first day that they tell whole; null when they are empty. */
  firstWholeDay: Day | null;
}

export interface ProxyOptions {
  litellm: Pick<LitellmClient, 'spendByDay' | 'activityPage' | 'ownScope'>;
  kv: Pick<Store['kv'], 'get' | 'put'>;
  identity: () => string;
  epoch: Day;
  now: () => number;
}

/** A proxy may be updated, and a role changed: what was found out is good for so long. */
const rememberMs = 6 * 3_600_000;

/** This version lacks the route. Where even the oldest route is missing, the address is wrong, and no version to blame. */
export const isLacking = (error: unknown, capability: Capability) =>
  isMissingRoute(error) && !(capability === 'rows' && (error as UpstreamError).advice === addressAdvice);

/** What the proxy was found to be able to do, remembered for some hours, also across replicas. */
export function createProxyFacts({ litellm, kv, identity, epoch, now }: ProxyOptions) {
  const inMemory = new Map<string, { at: number; value: Promise<unknown> }>();
  const keyOf = (name: string) => `proxy/${identity()}/${name}`;

  /** Not bound to the caller who asked first: others wait for the same. The client has deadlines of its own. */
  function once<T>(name: string, find: () => Promise<T>): Promise<T> {
    const known = inMemory.get(keyOf(name));
    if (known !== undefined && now() - known.at < rememberMs) return known.value as Promise<T>;
    const value = (async () => {
      const stored = (await kv.get(keyOf(name))) as { value: T } | undefined;
      if (stored !== undefined) return stored.value;
      const found = await find();
      await kv.put(keyOf(name), { value: found }, { ttlMs: rememberMs });
      return found;
    })();
    inMemory.set(keyOf(name), { at: now(), value });
    value.catch(() => inMemory.delete(keyOf(name)));
    return value;
  }

  async function readFirstDay(today: Day): Promise<Day | undefined> {
    const window = { start: epoch, end: nextDay(today), pageSize: 1 };
    const newest = await litellm.activityPage({ ...window, page: 1 });
    const oldest = newest.totalPages > 1 ? await litellm.activityPage({ ...window, page: newest.totalPages }) : newest;
    return oldest.days.at(-1)?.day;
  }

  async function readDaySpend(day: Day): Promise<PicoUsd> {
    let spend = 0n;
    for (let number = 1; ; number++) {
      const page = await litellm.activityPage({ start: day, end: nextDay(day), page: number });
      for (const { total } of page.days) spend += total.spend;
      if (!page.hasMore) return spend;
    }
  }

  const lacking = new Map<string, number>();
  const isKnownToLack = (capability: Capability) =>
    now() - (lacking.get(keyOf(`lacks-${capability}`)) ?? Number.NEGATIVE_INFINITY) < rememberMs;

  return {
    /** As far as is known without asking. */
    isKnownToLack,

    async lacks(capability: Capability): Promise<boolean> {
      if (isKnownToLack(capability)) return true;
      const key = keyOf(`lacks-${capability}`);
      const since = await kv.get(key);
      if (typeof since === 'number') lacking.set(key, since);
      return isKnownToLack(capability);
    },

    async noteLack(capability: Capability): Promise<void> {
      const key = keyOf(`lacks-${capability}`);
      lacking.set(key, now());
      await kv.put(key, now(), { ttlMs: rememberMs });
    },

    scope: (): Promise<Scope> => once('scope', () => litellm.ownScope()),

    /** The tables were filled from the upgrade on, in the middle of a day: it is whole only if the logs know no more. */
    history: (today: Day): Promise<DailyHistory> =>
      once('daily-history', async () => {
        const first = await readFirstDay(today);
        if (first === undefined) return { firstWholeDay: null };
        const [known, logged] = await Promise.all([
          readDaySpend(first),
          litellm.spendByDay({ start: first, end: nextDay(first) }),
        ]);
        const spend = logged.find(({ day }) => day === first)?.spend ?? 0n;
        return { firstWholeDay: spend > known + floatNoise ? nextDay(first) : first };
      }),
  };
}

export type ProxyFacts = ReturnType<typeof createProxyFacts>;
