import * as z from 'zod';
import { formatUsd, parseUsd } from '#shared/money.ts';
import type { Store } from '#shared/store/store.ts';
import type { HoldReason } from '../billing/decide.ts';
import { type Call, restoreCall, spendOf, storeCall } from '../calls/call.ts';

/** A call that nobody can be billed for yet, and why. */
export interface HeldCall {
  call: Call;
  reason: HoldReason;
  /** Whom it names: an id without a subscription, or the subscription. */
  id: string | null;
}

export const heldSum = z.object({
  reason: z.string(),
  id: z.string().nullable(),
  model: z.string(),
  /** The month of its usage, YYYY-MM. */
  month: z.string(),
  rows: z.number(),
  spend_usd: z.string(),
});

/** What is held, added up. */
export type HeldSum = z.infer<typeof heldSum>;

/** Past this many sums the rest is added up under `other`, so that made-up ids cannot fill the state. */
const maxSums = 500;

export function addHeld(sums: HeldSum[], { call, reason, id }: HeldCall): void {
  const month = new Date(call.startedAt).toISOString().slice(0, 7);
  const isSame = (sum: HeldSum, wanted: Pick<HeldSum, 'id' | 'model'>) =>
    sum.reason === reason && sum.month === month && sum.id === wanted.id && sum.model === wanted.model;
  const other = { id: 'other', model: 'other' };
  const own = { id, model: call.model };
  let sum = sums.find((item) => isSame(item, own));
  if (sum === undefined && sums.length >= maxSums) sum = sums.find((item) => isSame(item, other));
  if (sum === undefined) {
    sum = { reason, ...(sums.length >= maxSums ? other : own), month, rows: 0, spend_usd: '0' };
    sums.push(sum);
  }
  sum.rows += 1;
  sum.spend_usd = formatUsd(parseUsd(sum.spend_usd) + spendOf(call));
}

export const heldShape = z.object({
  /** The stream that is written to, and read when the rules have changed. */
  generation: z.number(),
  /** The rules by which these were held. */
  rules: z.string(),
  sums: z.array(heldSum),
  /** While a generation is decided on anew: how far, and what is held of it again. */
  replay: z.object({ after: z.string().optional(), sums: z.array(heldSum) }).optional(),
});

export type HeldState = z.infer<typeof heldShape>;

/** Held calls in streams of the store: one generation is read while the next is written. */
export function createHeldCalls({ log }: Pick<Store, 'log'>, key: string) {
  const streamOf = (generation: number) => `${key}/held/${generation}`;
  return {
    /** Appends and adds up; `state` is to be written after it. */
    async hold(state: HeldState, calls: HeldCall[]): Promise<void> {
      if (calls.length === 0) return;
      const generation = state.generation + (state.replay === undefined ? 0 : 1);
      await log.append(
        streamOf(generation),
        calls.map(({ call, reason, id }) => ({ call: storeCall(call), reason, id })),
      );
      for (const held of calls) addHeld(state.replay?.sums ?? state.sums, held);
    },
    /** The next calls of the generation that is decided on anew. */
    async next(state: HeldState): Promise<{ calls: Call[]; after: string | undefined }> {
      const { entries } = await log.page(streamOf(state.generation), { after: state.replay?.after, limit: 1 });
      const [entry] = entries;
      const items = (entry?.value ?? []) as { call: unknown }[];
      return { calls: items.map(({ call }) => restoreCall(call)), after: entry?.cursor };
    },
    /** The old generation has been decided on: what is left of it stands in the next one. */
    async finish(state: HeldState, now: number): Promise<void> {
      const old = state.generation;
      state.generation += 1;
      state.sums = state.replay?.sums ?? [];
      delete state.replay;
      await log.prune(streamOf(old), now + 1);
    },
  };
}

export type HeldCalls = ReturnType<typeof createHeldCalls>;
