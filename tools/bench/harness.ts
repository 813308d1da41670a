/** One side of a comparison. `measure` runs once per round and gives one number, smaller is better. */
export interface Contender {
  name: string;
  measure: () => Promise<number>;
}

/** What a benchmark promises: the measured ratio or number, and its limit (inclusive). */
export interface Target {
  name: string;
  value: number;
  limit: number;
  ok: boolean;
}

export interface Row {
  name: string;
  unit: string;
  median: number;
  /** Against the first contender of the same run. */
  ratio: number;
}

export interface BenchReport {
  bench: string;
  rows: Row[];
  targets: Target[];
}

export type Bench = (report: (line: string) => void) => Promise<BenchReport>;

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/**
 * Every contender once per round, in turn, so that a noisy neighbour hits all of them alike; the first round warms
 * caches and does not count. Ratios are of medians, against the first contender.
 */
export async function sideBySide(contenders: Contender[], options: { rounds: number; unit: string }): Promise<Row[]> {
  const samples = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round <= options.rounds; round++) {
    for (const { name, measure } of contenders) {
      const value = await measure();
      if (round > 0) samples.get(name)!.push(value);
    }
  }
  const baseline = median(samples.get(contenders[0]!.name)!);
  return contenders.map(({ name }) => {
    const middle = median(samples.get(name)!);
    return { name, unit: options.unit, median: middle, ratio: middle / baseline };
  });
}

/** A target that holds while `value` is at most `limit`. */
export function atMost(name: string, value: number, limit: number): Target {
  return { name, value: Number(value.toFixed(3)), limit, ok: value <= limit };
}

export function toTable({ rows, targets }: BenchReport): string {
  const width = Math.max(...rows.map(({ name }) => name.length), ...targets.map(({ name }) => name.length));
  return [
    ...rows.map((row) => `${row.name.padEnd(width)}  ${row.median.toFixed(1)} ${row.unit}  x${row.ratio.toFixed(2)}`),
    '',
    ...targets.map(
      ({ name, value, limit, ok }) => `${name.padEnd(width)}  ${value} (limit ${limit}) ${ok ? 'ok' : 'MISSED'}`,
    ),
  ].join('\n');
}
