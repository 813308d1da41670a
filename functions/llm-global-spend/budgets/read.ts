import { HttpError, UpstreamError } from '#shared/errors.ts';
import { toProblem } from '#shared/http/problem.ts';
import { type Reports, type SpendReport, toQuery } from '../report/report.ts';
import type { Budget } from './budget.ts';
import type { Period } from './period.ts';
import { type BudgetState, type Reading, toState } from './state.ts';

export interface ReadStatesOptions {
  reports: Pick<Reports, 'read'>;
  /** Which budget in which period. */
  wanted: { budget: Budget; period: Period }[];
  now: Date;
  signal: AbortSignal;
}

/** Groups by id; by name where no id matches, all of them, as an alias may have had several keys. */
function toReading({ budget: { scope, id } }: { budget: Budget }, report: SpendReport): Reading {
  const { complete, notes } = report;
  if (scope === 'proxy') return { spend: report.spend, label: 'everything', complete, notes };
  const labelled = report.groups.flatMap(({ by, spend }) => (by[scope] === undefined ? [] : [{ ...by[scope], spend }]));
  const byId = labelled.filter((group) => group.id === id);
  const found = byId.length > 0 ? byId : labelled.filter((group) => group.name === id);
  const spend = found.reduce((sum, group) => sum + group.spend, 0n);
  return { spend, label: found[0]?.name ?? id, complete, notes };
}

/**
 * Reads each scope and period once, however many budgets stand on it. A scope that cannot be read (LiteLLM is down, or
 * too old to know teams) makes its states `unknown` with the reason, and leaves the others alone.
 */
export async function readStates({ reports, wanted, now, signal }: ReadStatesOptions): Promise<BudgetState[]> {
  const reading = new Map<string, Promise<SpendReport>>();
  const read = ({ budget: { scope }, period: { startDate, endDate } }: (typeof wanted)[number]) => {
    const key = `${scope} ${startDate} ${endDate}`;
    const query = toQuery({ startDate, endDate, groupBy: scope === 'proxy' ? [] : [scope] });
    const report = reading.get(key) ?? reports.read(query, { signal });
    reading.set(key, report);
    return report;
  };
  return Promise.all(
    wanted.map(async (one) => {
      const state = (result: Reading) => toState(one.budget, one.period, result, now.getTime());
      try {
        return state(toReading(one, await read(one)));
      } catch (error) {
        if (signal.aborted || !(error instanceof HttpError || error instanceof UpstreamError)) throw error;
        const { code, message } = toProblem(error);
        return state({
          spend: null,
          label: one.budget.id || 'everything',
          complete: false,
          notes: [{ code, message }],
        });
      }
    }),
  );
}
