import * as z from 'zod';
import type { KeyValue } from '#shared/store/store.ts';
import { heldShape } from '../delivery/held.ts';

const shape = z.object({
  mark: z.number().optional(),
  /** A window that was begun and not ended: where to go on, and its end. */
  window: z.object({ at: z.number(), to: z.number() }).optional(),
  /** True until the first run came to its end, where Lago had events that we know nothing of. */
  isUncertain: z.boolean(),
  /** The calls that were being sent when a run failed or was killed: Lago may have them. */
  inDoubt: z.array(z.string()).optional(),
  /** True while a run is at work: who finds it set follows one that was killed. */
  isRunning: z.boolean().optional(),
  inbox: z.string().optional(),
  held: heldShape,
});

/** Where the next run goes on. Everything before `mark` is in Lago, dead-lettered, held or nobody's debt. */
export type State = z.infer<typeof shape>;

/**
 * One state per pair of systems: a mark that was reached against a trial Lago says nothing about the real one, and would
 * keep its older usage from ever being billed.
 */
export const toStateKey = (litellmUrl: string, lagoUrl: string) => `state ${litellmUrl} ${lagoUrl}`;

/** The state; without one a first run, which does not know what Lago has. */
export async function readState(kv: KeyValue, key: string): Promise<State> {
  const found = shape.safeParse(await kv.get(key));
  if (found.success) return found.data;
  return { isUncertain: true, held: { generation: 0, rules: '', sums: [] } };
}

/** In one piece, so that no part of it is ever ahead of another. */
export const writeState = (kv: KeyValue, key: string, state: State) => kv.put(key, state);
