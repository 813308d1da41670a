import { formatUsd, type PicoUsd, parseUsd } from '#shared/money.ts';
import type { KeyValue } from '#shared/store/store.ts';
import { type BillingPeriod, endOfPeriod } from '../billing/period.ts';
import { type Call, toCallId } from '../calls/call.ts';

const dayMs = 24 * 60 * 60 * 1000;
/** How long a sent day is read again, to see what was logged for it later. */
const watchedDays = 3;

/** What the roll-up asks of LiteLLM: its summary, and who its keys are. */
export interface RollupSource {
  spendByDay(window: {
    start: string;
    end: string;
    keyHash?: string;
    signal?: AbortSignal;
  }): Promise<{ day: string; keys: Map<string, PicoUsd>; models: Map<string, PicoUsd> }[]>;
  keys(
    signal?: AbortSignal,
  ): Promise<{ hash: string; alias: string | null; userId: string | null; teamId: string | null }[]>;
}

/** Spend that LiteLLM shows for a day after the day was sent: Lago would drop it, so a person has to see it. */
export interface LateDelta {
  day: string;
  key: string;
  model: string;
  sent_usd: string;
  now_usd: string;
}

const toDay = (at: number) => new Date(at).toISOString().slice(0, 10);

/**
 * When a day is sent: some hours after it closed, as rows are logged late; the last day of a billing period at once,
 * since Lago finalizes ten minutes later and never bills what comes after.
 */
export function dueAt(dayStart: number, options: { period: BillingPeriod; delayMs: number; lagMs: number }): number {
  const end = dayStart + dayMs;
  const isLast = options.period !== 'none' && endOfPeriod(dayStart, options.period) === end;
  return end + (isLast ? options.lagMs : Math.max(options.delayMs, options.lagMs));
}

/** The days of [from, now) that are due and not before `from`'s own day; ms of their midnights, ascending. */
export function findDueDays(from: number, now: number, options: Parameters<typeof dueAt>[1]): number[] {
  const days: number[] = [];
  for (let day = Math.floor(from / dayMs) * dayMs; day < now && dueAt(day, options) <= now; day += dayMs)
    days.push(day);
  return days;
}

interface Part {
  key: string;
  model: string;
  spend: PicoUsd;
}

/** What each key spent on each model of a day. */
async function readDay(source: RollupSource, day: number, signal: AbortSignal | undefined): Promise<Part[]> {
  const window = { start: toDay(day), end: toDay(day + dayMs), ...(signal === undefined ? {} : { signal }) };
  const [summary] = await source.spendByDay(window);
  const parts: Part[] = [];
  for (const [key, total] of summary?.keys ?? []) {
    if (total === 0n) continue;
    const [own] = key === '' ? [] : await source.spendByDay({ ...window, keyHash: key });
    const models = [...(own?.models ?? [])].filter(([, spend]) => spend !== 0n);
    for (const [model, spend] of models) parts.push({ key, model, spend });
    if (models.length === 0) parts.push({ key, model: '', spend: total });
  }
  return parts;
}

/**
 * A closed day of LiteLLM 1.53.7 as calls: one for each key and model, at the day's first moment, money only. Its ids
 * are its own: a roll-up and the rows of the same day would bill twice.
 */
export function createRollup(options: { source: RollupSource; kv: KeyValue; key: string }) {
  const { source, kv } = options;
  const keyOf = (day: number) => `${options.key}/rollup/${toDay(day)}`;

  type Note = [key: string, model: string, spend: string][];

  /**
   * A day's sums as they were first read: what is sent again after a crash is what was sent before it, and what is
   * logged later shows as a delta.
   */
  async function freeze(day: number, signal: AbortSignal | undefined, isDryRun: boolean): Promise<Part[]> {
    const noted = (await kv.get(keyOf(day))) as Note | undefined;
    if (noted !== undefined) return noted.map(([key, model, spend]) => ({ key, model, spend: parseUsd(spend) }));
    const parts = await readDay(source, day, signal);
    const note: Note = parts.map(({ key, model, spend }) => [key, model, formatUsd(spend)]);
    if (!isDryRun) await kv.put(keyOf(day), note, { ttlMs: 40 * dayMs });
    return parts;
  }

  return {
    async calls(day: number, signal?: AbortSignal, { isDryRun = false } = {}): Promise<Call[]> {
      const [parts, keys] = [await freeze(day, signal, isDryRun), await source.keys(signal)];
      const holders = new Map(keys.map((item) => [item.hash, item]));
      return parts.map(({ key, model, spend }) => {
        const requestId = `rollup-${toDay(day)}-${key.slice(0, 64)}-${model}`;
        const holder = holders.get(key);
        return {
          id: toCallId('litellm', requestId),
          requestId,
          source: 'rollup',
          startedAt: day,
          model,
          provider: null,
          spend,
          prompt: 0,
          completion: 0,
          total: 0,
          tokens: {},
          endUser: null,
          user: holder?.userId ?? null,
          team: holder?.teamId ?? null,
          organization: null,
          keyAlias: holder?.alias ?? null,
          keyHash: key || null,
          tags: [],
          fields: {},
          isFailure: false,
          isCacheHit: false,
          isBilledElsewhere: false,
          isEstimated: false,
        };
      });
    },

    /** What LiteLLM shows today beyond what was sent of the last days before `before`. */
    async findDeltas(before: number, signal?: AbortSignal): Promise<LateDelta[]> {
      const deltas: LateDelta[] = [];
      for (let back = 1; back <= watchedDays; back++) {
        const day = (Math.floor(before / dayMs) - back) * dayMs;
        const noted = (await kv.get(keyOf(day))) as Note | undefined;
        if (noted === undefined) continue;
        const sent = new Map(noted.map(([key, model, spend]) => [`${key} ${model}`, parseUsd(spend)]));
        for (const { key, model, spend } of await readDay(source, day, signal)) {
          const before = sent.get(`${key} ${model}`) ?? 0n;
          if (spend === before) continue;
          deltas.push({ day: toDay(day), key, model, sent_usd: formatUsd(before), now_usd: formatUsd(spend) });
        }
      }
      return deltas;
    },
  };
}

export type Rollup = ReturnType<typeof createRollup>;
