import { createHash } from 'node:crypto';
import * as z from 'zod';
import type { KeyValue } from '#shared/store/store.ts';

const shape = z.object({ mark: z.number(), seen: z.record(z.string(), z.number()) });

/** Where the next run goes on: everything before `mark` is done; `seen` is what is done after `mark` minus the overlap. */
export interface State {
  mark: number | undefined;
  /** Transaction id (or the key of an unmapped row) to the row's start. */
  seen: Map<string, number>;
}

/**
 * One state per pair of systems: a mark that was reached against a trial Lago says nothing about the real one, and would
 * keep its older usage from ever being billed.
 */
export function toStateKey(litellmUrl: string, lagoUrl: string): string {
  return `state-${createHash('sha256')
    .update(JSON.stringify([litellmUrl, lagoUrl]))
    .digest('hex')
    .slice(0, 16)}`;
}

export async function readState(kv: KeyValue, key: string): Promise<State> {
  const found = shape.safeParse(await kv.get(key));
  if (!found.success) return { mark: undefined, seen: new Map() };
  return { mark: found.data.mark, seen: new Map(Object.entries(found.data.seen)) };
}

/** Writes mark and memory in one piece, so that neither is ever ahead of the other. */
export async function writeState(kv: KeyValue, key: string, { mark, seen }: State, overlapMs: number): Promise<void> {
  if (mark === undefined) return;
  for (const [id, startedAt] of seen) if (startedAt < mark - overlapMs) seen.delete(id);
  await kv.put(key, { mark, seen: Object.fromEntries(seen) });
}
