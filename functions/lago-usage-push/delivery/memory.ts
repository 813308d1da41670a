import type { KeyValue } from '#shared/store/store.ts';
import type { Call } from '../calls/call.ts';

const minuteMs = 60_000;

/** The first half of the id's digest: 64 bits, compared among the calls of a minute or of a group only. */
export const toMark = ({ id }: Call) => id.replace(/^(litellm|record)-/, '').slice(0, 16);
const toMinute = ({ startedAt }: Call) => Math.floor(startedAt / minuteMs);

/** Which of some calls were dealt with before: billed, dead-lettered or held. */
export interface Remembered {
  has(call: Call): boolean;
  add(call: Call): void;
  /** Writes the minutes that changed. */
  save(): Promise<void>;
}

/**
 * Remembers calls for `horizonMs` after they began, in a key for each minute, so that a run reads and writes only the
 * minutes it is at. Older calls are not known here, and Lago's own idempotency stands alone for them.
 */
export function createMemory(options: { kv: KeyValue; key: string; horizonMs: number; now: () => number }): {
  recall(calls: Call[]): Promise<Remembered>;
  reachesBackTo(): number;
} {
  const { kv, key, horizonMs, now } = options;
  const reachesBackTo = () => now() - horizonMs;

  return {
    reachesBackTo,
    async recall(calls) {
      const oldest = Math.floor(reachesBackTo() / minuteMs);
      const minutes = [...new Set(calls.map(toMinute))].filter((minute) => minute >= oldest);
      const marks = new Map<number, Set<string>>();
      await Promise.all(
        minutes.map(async (minute) => {
          const found = await kv.get(`${key}/done/${minute}`);
          marks.set(minute, new Set(typeof found === 'string' ? found.split(',') : []));
        }),
      );
      const changed = new Set<number>();
      return {
        has: (call) => marks.get(toMinute(call))?.has(toMark(call)) ?? false,
        add(call) {
          const minute = toMinute(call);
          const known = marks.get(minute);
          if (known === undefined || known.has(toMark(call))) return;
          known.add(toMark(call));
          changed.add(minute);
        },
        async save() {
          const writes = [...changed].map((minute) => {
            const ttlMs = Math.max(minuteMs, (minute + 1) * minuteMs + horizonMs - now());
            return kv.put(`${key}/done/${minute}`, [...(marks.get(minute) ?? [])].join(','), { ttlMs });
          });
          changed.clear();
          await Promise.all(writes);
        },
      };
    },
  };
}
