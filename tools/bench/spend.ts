import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { atLeast, atMost, type Bench, inTurns, median, type Row, type Samples } from './harness.ts';
import { folder, prepareReaders, type Reading, startUpstream } from './spend/readers.ts';

const rows = 500_000;
const perDay = 2_000;
const byTeam = 'group_by=team,model&start_date=2024-12-01&end_date=2024-12-31';
const year = 'start_date=2024-12-01&end_date=2025-11-30';

function toRows(samples: Samples, base: string, metric: string, unit: string): Row[] {
  const baseline = median(samples.get(base)![metric]!);
  return [...samples].map(([name, values]) => {
    const middle = median(values[metric]!);
    return { name, measure: metric, unit, median: middle, ratio: middle / baseline };
  });
}

let stores = 0;
/** A store of its own, empty. */
function newStore(): string {
  const directory = join(folder, `store-${stores++}`);
  rmSync(directory, { recursive: true, force: true });
  return directory;
}

const close = (left: number, right: number) => Math.abs(left - right) < 1e-6 * Math.abs(right);

/** Reading spend as everybody does first beside the function as it is deployed. */
export const bench: Bench = async (report) => {
  const readers = await prepareReaders();
  const dump = await startUpstream('dump', rows);
  const contenders = [
    { name: 'ours', read: () => readers.ours(dump.url, byTeam, newStore()) },
    { name: 'node fetch().json()', read: () => readers.node(dump.url) },
    { name: 'python requests + json', read: () => readers.python(dump.url) },
  ];
  report(`spend: a dump of ${rows} rows, three readers in turn`);
  const sums = new Set<number>();
  const samples = await inTurns(contenders, 3, async ({ read }) => {
    const { ms, cpuMs, mib, spendUsd } = await read();
    sums.add(spendUsd);
    return { ms, cpu: cpuMs, mib };
  });
  dump.close();
  const [sum] = sums;
  if (![...sums].every((other) => close(other, sum!))) throw new Error(`sums differ: ${[...sums].join(', ')}`);
  const faster = Math.min(...contenders.slice(1).map(({ name }) => median(samples.get(name)!.ms!)));
  const leaner = Math.min(...contenders.slice(1).map(({ name }) => median(samples.get(name)!.mib!)));
  const ours = samples.get('ours')!;

  report(`spend: a dump of ${rows * 2} rows`);
  const large = await startUpstream('dump', rows * 2);
  const oursLarge = await readers.ours(large.url, byTeam, newStore());
  const nodeLarge = await readers.node(large.url).then(
    () => 'read it',
    (error: { stderr?: string }) =>
      /string longer than|Invalid string length/.test(error.stderr ?? '') ? 'died' : 'failed',
  );
  large.close();
  if (!close(oursLarge.spendUsd, sum! * 2)) throw new Error(`a million rows sum to ${oursLarge.spendUsd}`);

  report('spend: a year by daily tables');
  const tables = await startUpstream('tables', 0);
  await readers.ours(tables.url, `group_by=day,model&${year}`, newStore());
  const calls = await tables.calls();
  tables.close();

  report(`spend: a year of ${perDay} requests a day by pages, then again by a new process`);
  const pages = await startUpstream('pages', perDay);
  const again: { first: Reading; second: Reading }[] = [];
  for (let round = 0; round < 2; round++) {
    const store = newStore();
    const first = await readers.ours(pages.url, `group_by=team&${year}`, store);
    again.push({ first, second: await readers.ours(pages.url, `group_by=team&${year}`, store) });
  }
  pages.close();
  const speedUp = median(again.map(({ first, second }) => first.ms / second.ms));

  return {
    bench: 'spend',
    rows: [
      ...toRows(samples, 'ours', 'ms', 'ms'),
      ...toRows(samples, 'ours', 'cpu', 'ms'),
      ...toRows(samples, 'ours', 'mib', 'MiB'),
      {
        name: 'ours, twice the rows',
        measure: 'mib',
        unit: 'MiB',
        median: oursLarge.mib,
        ratio: oursLarge.mib / median(ours.mib!),
      },
      {
        name: 'ours, twice the rows',
        measure: 'ms',
        unit: 'ms',
        median: oursLarge.ms,
        ratio: oursLarge.ms / median(ours.ms!),
      },
      { name: 'ours, a year by pages', measure: 'ms', unit: 'ms', median: again[0]!.first.ms, ratio: 1 },
      {
        name: 'ours, the year again',
        measure: 'ms',
        unit: 'ms',
        median: again[0]!.second.ms,
        ratio: again[0]!.second.ms / again[0]!.first.ms,
      },
    ],
    targets: [
      atMost('wall time against the faster of the two', median(ours.ms!) / faster, 1.2),
      atMost('peak memory against the leaner of the two', median(ours.mib!) / leaner, 1 / 3),
      atMost('peak memory of twice the rows', oursLarge.mib / median(ours.mib!), 1.25),
      atLeast('twice the rows kill fetch().json()', nodeLarge === 'died' ? 1 : 0, 1),
      atMost('calls for a year by daily tables', calls, 12),
      atLeast('second call against the first', speedUp, 20),
    ],
  };
};
