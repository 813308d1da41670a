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
  /** True where the limit is the least that will do; else it is the most. */
  least?: boolean;
  ok: boolean;
}

export interface Row {
  name: string;
  /** What was measured, where a benchmark measures more than one thing. */
  measure?: string;
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

/** By contender's name and metric: one number a round. */
export type Samples = Map<string, Record<string, number[]>>;

/** In an order of chance: nobody always comes after the one who leaves the machine hot. */
const shuffled = <T>(items: readonly T[]): T[] =>
  items
    .map((item) => ({ item, chance: Math.random() }))
    .toSorted((a, b) => a.chance - b.chance)
    .map(({ item }) => item);

/** As `sideBySide`, for measurements of several numbers, of which some are better when larger. */
export async function inTurns<C extends { name: string }>(
  contenders: C[],
  rounds: number,
  measure: (contender: C, round: number) => Promise<Record<string, number>>,
): Promise<Samples> {
  const samples: Samples = new Map(contenders.map(({ name }) => [name, {}]));
  // A single round is of a thing that needs no warming.
  for (let round = rounds === 1 ? 1 : 0; round <= rounds; round++) {
    for (const contender of shuffled(contenders)) {
      const values = samples.get(contender.name)!;
      for (const [metric, value] of Object.entries(await measure(contender, round))) {
        values[metric] ??= [];
        if (round > 0) values[metric].push(value);
      }
    }
  }
  return samples;
}

/** The median over the rounds of one contender's number against the other's of the same round: noise hits both. */
export function ratioOf(samples: Samples, metric: string, name: string, against: string): number {
  const other = samples.get(against)![metric]!;
  return median(samples.get(name)![metric]!.map((value, round) => value / other[round]!));
}

/** A target that holds while `value` is at most `limit`. */
export function atMost(name: string, value: number, limit: number): Target {
  return { name, value: Number(value.toFixed(3)), limit, ok: value <= limit };
}

/** A target that holds while `value` is at least `limit`. */
export function atLeast(name: string, value: number, limit: number): Target {
  return { name, value: Number(value.toFixed(3)), limit, least: true, ok: value >= limit };
}

/** One line for each measure, a column for each contender. */
function toMatrix(rows: Row[]): string[] {
  const names = [...new Set(rows.map(({ name }) => name))];
  const cells = [...Map.groupBy(rows, ({ measure }) => measure)].map(([measure = '', group]) => [
    `${measure}${group[0]!.unit === '' ? '' : `, ${group[0]!.unit}`}`,
    ...names.map((name) => {
      const value = group.find((row) => row.name === name)?.median;
      return value === undefined ? '' : value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);
    }),
  ]);
  const lines = [['', ...names], ...cells];
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines.map((line) =>
    line.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  '),
  );
}

export function toTable({ rows, targets }: BenchReport): string {
  const plain = rows.filter(({ measure }) => measure === undefined);
  const width = Math.max(...plain.map(({ name }) => name.length), ...targets.map(({ name }) => name.length));
  return [
    ...plain.map((row) => `${row.name.padEnd(width)}  ${row.median.toFixed(1)} ${row.unit}  x${row.ratio.toFixed(2)}`),
    ...(plain.length < rows.length ? toMatrix(rows.filter(({ measure }) => measure !== undefined)) : []),
    '',
    ...targets.map(
      ({ name, value, limit, least, ok }) =>
        `${name.padEnd(width)}  ${value} (${least ? 'at least' : 'limit'} ${limit}) ${ok ? 'ok' : 'MISSED'}`,
    ),
  ].join('\n');
}
