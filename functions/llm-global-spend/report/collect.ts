import { HttpError, UpstreamError } from '#shared/errors.ts';
import type { PicoUsd } from '#shared/money.ts';
import { type DayCells, floatNoise } from '../cells/cell.ts';
import { addDays, type Day, daysOf, hasOffset, nextDay, toDayIn } from '../days.ts';
import type { Sweep } from '../memory/sweep.ts';
import { type Candidate, planSources, type Sources } from '../sources/plan.ts';
import { isLacking, type ProxyFacts } from '../sources/proxy.ts';
import { columnsOf, createReportFold, type ValueFilters } from './fold.ts';
import { type Finding, notes, unsupported } from './notes.ts';
import type { Dimension } from './query.ts';

export interface CollectOptions {
  sweep: Sweep;
  sources: () => Promise<Sources>;
  facts: ProxyFacts;
  /** The first day that can have spend. */
  epoch: Day;
  /** The zone of the proxy's days, and how many minutes it is ahead of UTC. */
  proxyZone: { name: string; offsetMinutes: number };
  now: () => Date;
}

export interface CollectCall {
  startDate: Day;
  endDate: Day;
  timezone: string;
  groupBy: Dimension[];
  filters: ValueFilters;
  refresh: boolean;
  signal: AbortSignal;
}

export interface Collected extends ReturnType<ReturnType<typeof createReportFold>['finish']> {
  source: string;
  timezone: string;
  findings: Finding[];
}

/** Requests are logged late, and a clock may be off: the days before these two are over for good. */
const openDays = 2;

/** Reads a report's days from the cheapest source that can tell them, and finds out what is missing. */
export function createCollect({ sweep, sources: createSources, facts, epoch, proxyZone, now }: CollectOptions) {
  return async function collect(call: CollectCall): Promise<Collected> {
    const { timezone, groupBy, filters, refresh, signal } = call;
    const needed = columnsOf(groupBy, filters);
    const window = { start: call.startDate, end: nextDay(call.endDate) };
    const fitsProxyDays = hasOffset(window, timezone, proxyZone.offsetMinutes);
    const sources = await createSources();
    const plan = planSources(sources, { needed, filters, fitsProxyDays });

    const zoneOf = ({ source }: Candidate) => (source.hasMoments ? timezone : proxyZone.name);
    const todayOf = (candidate: Candidate) => toDayIn(now(), zoneOf(candidate));
    const findings: Finding[] = call.startDate < epoch ? [notes.beforeEpoch(epoch)] : [];
    const used = new Set<string>();

    async function read(candidate: Candidate, days: readonly Day[], onDay: (day: DayCells) => void) {
      const closedBefore = addDays(todayOf(candidate), -openDays);
      const { source } = candidate;
      await sweep({
        source,
        days,
        timezone: zoneOf(candidate),
        needed: candidate.needed,
        closedBefore,
        refresh,
        signal,
        onDay,
      });
      used.add(source.name);
    }

    /** What the whole of these days cost by another ledger, day by day. */
    async function readSpend(candidate: Candidate, days: readonly Day[]): Promise<Map<Day, PicoUsd>> {
      const spend = new Map<Day, PicoUsd>();
      const source = { ...candidate, needed: [] };
      const closedBefore = addDays(todayOf(source), -openDays);
      const onDay = ({ day, cells }: DayCells) =>
        void spend.set(
          day,
          cells.reduce((sum, cell) => sum + cell.spend, 0n),
        );
      await sweep({
        source: candidate.source,
        days,
        timezone: zoneOf(source),
        needed: [],
        closedBefore,
        refresh,
        signal,
        onDay,
      });
      return spend;
    }

    /** The daily tables begin somewhere: what is older comes from whichever can tell it. */
    async function readActivity(candidate: Candidate, days: Day[], rest: Candidate[], onDay: (day: DayCells) => void) {
      const { firstWholeDay } = await facts.history(todayOf(candidate));
      const early = days.filter((day) => firstWholeDay === null || day < firstWholeDay);
      const known = days.slice(early.length);
      if (known.length > 0) await read(candidate, known, onDay);
      if (early.length === 0) return;
      const summary: Candidate = { source: sources.summary(), needed: [] };
      const spend = await readSpend(summary, early);
      const spent = early.filter((day) => (spend.get(day) ?? 0n) !== 0n);
      if (spent.length > 0)
        await readEarly(rest, spent, { spend, before: firstWholeDay ?? nextDay(days.at(-1)!) }, onDay);
      else if (known.length === 0) used.add(summary.source.name);
    }

    async function readEarly(
      rest: Candidate[],
      days: Day[],
      missing: { spend: Map<Day, PicoUsd>; before: Day },
      onDay: (day: DayCells) => void,
    ) {
      for (const candidate of rest.filter(({ capability }) => capability === undefined || capability === 'rows')) {
        if (await attempt(candidate, () => read(candidate, days, onDay))) return;
      }
      const sum = days.reduce((total, day) => total + (missing.spend.get(day) ?? 0n), 0n);
      findings.push(notes.noHistory(missing.before, sum));
    }

    /** False where this version has no such route. */
    async function attempt(candidate: Candidate, work: () => Promise<void>): Promise<boolean> {
      const { capability } = candidate;
      if (capability !== undefined && (await facts.lacks(capability))) return false;
      try {
        await work();
        return true;
      } catch (error) {
        if (capability === undefined || !isLacking(error, capability)) throw error;
        await facts.noteLack(capability);
        return false;
      }
    }

    /** Where the same money is written, too, and cheap to ask for: old versions load every request for a summary. */
    function otherLedgers({ source, capability }: Candidate): Candidate[] {
      if (!fitsProxyDays || source.filter !== undefined || capability === 'activity') return [];
      if (capability === 'aggregated') return [{ source: sources.summary(), needed: [] }];
      return (['aggregated', 'activity'] as const).map((daily) => ({
        source: sources[daily],
        capability: daily,
        needed: [],
      }));
    }

    /** Two ledgers of the same money: the one that was read must not know less. */
    async function compare(candidate: Candidate, days: Day[], spend: Map<Day, PicoUsd>) {
      const closedBefore = addDays(todayOf(candidate), -openDays);
      async function find(other: Candidate) {
        const others = await readSpend(other, days);
        let more = 0n;
        for (const day of days) {
          const own = spend.get(day) ?? 0n;
          // Both are still being written, each in its own time: only what one of them does not have at all is missing.
          const gap = day < closedBefore || own === 0n ? (others.get(day) ?? 0n) - own : 0n;
          // Day by day, as each ledger may know more than the other of some days.
          if (gap > floatNoise + own / 1_000_000_000n) more += gap;
        }
        if (more === 0n) return;
        findings.push(candidate.capability === 'aggregated' ? notes.tablesShort(more) : notes.logsDeleted(more));
      }
      try {
        for (const other of days.length === 0 ? [] : otherLedgers(candidate)) {
          if (await attempt(other, () => find(other))) return;
        }
      } catch (error) {
        if (signal.aborted || !(error instanceof UpstreamError)) throw error;
        findings.push(notes.unchecked());
      }
    }

    for (const [index, candidate] of plan.entries()) {
      const fold = createReportFold(groupBy, filters);
      const spend = new Map<Day, PicoUsd>();
      const onDay = (day: DayCells) => {
        fold.add(day);
        spend.set(
          day.day,
          day.cells.reduce((sum, cell) => sum + cell.spend, 0n),
        );
      };
      const today = todayOf(candidate);
      const days = [...daysOf(window)].filter((day) => day >= epoch && day <= today);
      const isActivity = candidate.capability === 'aggregated' || candidate.capability === 'activity';
      const work = () =>
        isActivity ? readActivity(candidate, days, plan.slice(index + 1), onDay) : read(candidate, days, onDay);
      if (!(await attempt(candidate, work))) continue;
      await compare(candidate, days, spend);
      const zone = zoneOf(candidate);
      if (!fitsProxyDays && !candidate.source.hasMoments) findings.push(notes.proxyDays(timezone, zone));
      const source = [...used].join('+') || candidate.source.name;
      return { ...fold.finish(), source, timezone: fitsProxyDays ? timezone : zone, findings };
    }
    throw new HttpError(422, unsupported(needed), { code: 'unsupported_by_source' });
  };
}
