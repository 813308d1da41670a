import type { StoredEvent } from '#shared/clients/lago-ledger.ts';
import { formatScaled, toScaled } from './sums.ts';

/** One event that a call of LiteLLM's ledger should be in Lago as. */
export interface Expected {
  transactionId: string;
  requestId: string;
  subscription: string;
  model: string;
  code: string;
  /** What Lago adds up: money in `cost` and `litellm`, tokens in `tokens`. */
  amount: string;
  /** The call's cost before markup, as LiteLLM's own callback would send it. */
  baseCost: string;
  totalTokens: number;
  /** ms since 1970. */
  at: number;
}

export interface Found {
  expected: Expected;
  stored: StoredEvent;
}

export interface Double {
  /** same_id: a store that replaces by id and time has it twice. callback: the same call under an id that is not ours. */
  kind: 'same_id' | 'callback';
  expected: Expected;
  stored: StoredEvent;
}

export interface Comparison {
  found: Found[];
  missing: Expected[];
  double: Double[];
  /** Under our id, with another amount or for another subscription than the ledger says now. */
  changed: Found[];
  /** With one of our ids, and no call in the ledger: deleted there, or told by a usage record. */
  notInLedger: StoredEvent[];
  /** On our metrics, from somebody else. */
  foreign: StoredEvent[];
}

/** How far LiteLLM's callback may be behind a call's start: its event has no time of its own. */
const nearMs = 15 * 60 * 1000;
const ownId = /^(litellm|record)-[0-9a-f]{32}-/;

export const amountFields = ['cost', 'response_cost', 'value'] as const;

/** The number that Lago adds up of an event, as it stands there. */
export function amountOf({ properties }: Pick<StoredEvent, 'properties'>): unknown {
  return amountFields.map((name) => properties[name]).find((value) => value !== undefined);
}

const sameAmount = (left: unknown, right: unknown) => toScaled(left) === toScaled(right);

const keyOf = (subscription: string | null, model: unknown, cost: unknown) =>
  JSON.stringify([subscription, model, formatScaled(toScaled(cost))]);

/** The calls that an event of LiteLLM's callback may be about, nearest first by use. */
function createMatcher(calls: Expected[]) {
  const byKey = Map.groupBy(calls, ({ subscription, model, baseCost }) => keyOf(subscription, model, baseCost));
  const used = new Set<Expected>();
  return (stored: StoredEvent): Expected | undefined => {
    const { response_cost: cost, total_tokens: tokens, model } = stored.properties;
    // Without any cost two calls look alike: that is no ground to call one a double.
    if (cost === undefined || toScaled(cost) === 0n) return undefined;
    const match = (byKey.get(keyOf(stored.subscription, model, cost)) ?? [])
      .filter((call) => !used.has(call) && (tokens === undefined || Number(tokens) === call.totalTokens))
      .map((call) => ({ call, apart: stored.at.getTime() - call.at }))
      .filter(({ apart }) => apart >= 0 && apart <= nearMs)
      .toSorted((left, right) => left.apart - right.apart)[0]?.call;
    if (match !== undefined) used.add(match);
    return match;
  };
}

/**
 * What the ledger says against what Lago has. `earlier` are calls just before this window, whose copies by LiteLLM's own
 * callback may lie in it. Each stored event is in exactly one list, but for those of metrics that are not ours.
 */
export function compare(expected: Expected[], stored: StoredEvent[], earlier: Expected[] = []): Comparison {
  const result: Comparison = { found: [], missing: [], double: [], changed: [], notInLedger: [], foreign: [] };
  const byId = Map.groupBy(stored, ({ transactionId }) => transactionId);
  const codes = new Set(expected.map(({ code }) => code));
  for (const item of expected) {
    const [first, ...more] = byId.get(item.transactionId) ?? [];
    byId.delete(item.transactionId);
    if (first === undefined) result.missing.push(item);
    else if (first.subscription !== item.subscription || !sameAmount(amountOf(first), item.amount)) {
      result.changed.push({ expected: item, stored: first });
    } else result.found.push({ expected: item, stored: first });
    for (const copy of more) result.double.push({ kind: 'same_id', expected: item, stored: copy });
  }
  const findCall = createMatcher([...earlier, ...expected]);
  for (const copies of byId.values()) {
    for (const copy of copies) {
      // Usage of an earlier period, billed in this one, belongs to another window of the ledger.
      if (copy.properties.usage_date !== undefined) continue;
      if (ownId.test(copy.transactionId)) {
        result.notInLedger.push(copy);
        continue;
      }
      const call = findCall(copy);
      if (call !== undefined) result.double.push({ kind: 'callback', expected: call, stored: copy });
      else if (codes.has(copy.code)) result.foreign.push(copy);
    }
  }
  return result;
}
