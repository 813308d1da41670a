import { HttpError } from '#shared/errors.ts';
import { type Column, columns } from '../cells/cell.ts';
import { type Day, firstOfMonth, toDayIn } from '../days.ts';
import type { Names } from '../names.ts';
import type { ProxyFacts } from '../sources/proxy.ts';
import type { createCollect } from './collect.ts';
import type { FoldedGroup, ValueFilters } from './fold.ts';
import { type Finding, notes } from './notes.ts';
import type { Dimension, Filter, SpendQuery } from './query.ts';
import type { Label, Reports, SpendGroup, SpendReport } from './report.ts';

export interface ReportsOptions {
  collect: ReturnType<typeof createCollect>;
  facts: Pick<ProxyFacts, 'scope'>;
  names: Pick<Names, 'find' | 'resolve'>;
  /** The first day that can have spend. */
  epoch: Day;
  /** The zone of the proxy's days. */
  proxyZone: string;
  now: () => Date;
}

const isColumn = (dimension: Dimension): dimension is Column => (columns as readonly string[]).includes(dimension);

export function createReports({ collect, facts, names, epoch, proxyZone, now }: ReportsOptions): Reports {
  async function resolve(query: SpendQuery, signal: AbortSignal): Promise<ValueFilters> {
    const filters: ValueFilters = {};
    for (const [column, wanted] of Object.entries(query.filters) as [Filter, string][]) {
      filters[column] = await names.resolve(column, wanted, signal);
    }
    return filters;
  }

  async function label(groupBy: Dimension[], groups: FoldedGroup[], signal: AbortSignal): Promise<SpendGroup[]> {
    const found = await Promise.all(
      groupBy.map((dimension, index) => {
        const ids = [...new Set(groups.map((group) => group.ids[index]!))];
        return isColumn(dimension) ? names.find(dimension, ids, signal) : new Map(ids.map((id) => [id, id]));
      }),
    );
    return groups.map(({ ids, ...amounts }) => {
      const labels = ids.map((id, index): [Dimension, Label] => [
        groupBy[index]!,
        { id, name: found[index]!.get(id) ?? id },
      ]);
      return { by: Object.fromEntries(labels), ...amounts };
    });
  }

  async function findScope(): Promise<Finding[]> {
    const scope = await facts.scope();
    if (scope.sees === 'one user') return [notes.scopedToUser(scope.userId)];
    return scope.sees === 'unknown' ? [notes.scopeUnknown()] : [];
  }

  const isComplete = (findings: Finding[]) => !findings.some(({ isIncomplete }) => isIncomplete);
  const toNotes = (findings: Finding[]) => findings.map(({ code, message }) => ({ code, message }));

  return {
    async read(query, { signal }): Promise<SpendReport> {
      const { startDate, endDate, timezone, groupBy, refresh, strict } = query;
      const filters = await resolve(query, signal);
      const call = { startDate, endDate, timezone, groupBy, filters, refresh, signal };
      const collected = await collect(call);
      const { total } = collected;
      const findings = [
        ...(await findScope()),
        ...collected.findings,
        ...(total.requests === null ? [notes.moneyOnly()] : []),
        ...(groupBy.includes('tag') ? [notes.tagsOverlap()] : []),
      ];
      const complete = isComplete(findings);
      if (strict && !complete) {
        const reasons = findings.filter(({ isIncomplete }) => isIncomplete).map(({ message }) => message);
        throw new HttpError(502, `The numbers are incomplete: ${reasons.join('; ')}`, { code: 'incomplete' });
      }
      return {
        window: { startDate, endDate, timezone: collected.timezone },
        groupBy,
        ...total,
        groups: await label(groupBy, collected.groups, signal),
        source: collected.source,
        complete,
        notes: toNotes(findings),
      };
    },

    async totals({ signal }) {
      // Read once: a call across midnight belongs to the day on which it began.
      const today = toDayIn(now(), proxyZone);
      const call = { endDate: today, timezone: proxyZone, filters: {}, refresh: false, signal };
      const startDate = epoch < today ? epoch : today;
      const collected = await collect({ ...call, startDate, groupBy: ['day'] });
      const findings = [...(await findScope()), ...collected.findings];
      const sums = { global: 0n, currentMonth: 0n, today: 0n };
      for (const { ids, spend } of collected.groups) {
        const day = ids[0]!;
        sums.global += spend;
        if (day >= firstOfMonth(today)) sums.currentMonth += spend;
        if (day === today) sums.today += spend;
      }
      return { ...sums, complete: isComplete(findings), notes: toNotes(findings) };
    },
  };
}
