const dayMs = 24 * 60 * 60 * 1000;

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

/** The window cut at UTC midnights, so that a long one is worked off, and marked as done, day by day. */
export function* sliceByDay({ from, to }: Window): Generator<Window> {
  for (let start = from; start < to; ) {
    const end = Math.min(to, (Math.floor(start / dayMs) + 1) * dayMs);
    yield { from: start, to: end };
    start = end;
  }
}
