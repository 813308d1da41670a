/** Half-open, ms since 1970. */
export interface Window {
  from: number;
  to: number;
}

/**
 * What a run reads. LiteLLM writes a row after its call ended and sorts it by its start, so rows appear behind the mark:
 * each run looks back by the overlap, and stays behind the clock by the lag. Never before `billFrom`.
 */
export function findWindow(options: {
  now: number;
  billFrom: number;
  mark?: number | undefined;
  overlapMs: number;
  lagMs: number;
}): Window {
  const { now, billFrom, mark, overlapMs, lagMs } = options;
  const from = Math.max(billFrom, mark === undefined ? billFrom : mark - overlapMs);
  return { from, to: Math.max(from, now - lagMs) };
}

/** Items in groups of at most `size`, as they come. */
export async function* chunk<T>(items: AsyncIterable<T>, size: number): AsyncGenerator<T[]> {
  let group: T[] = [];
  for await (const item of items) {
    group.push(item);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}
