import { HttpError } from '#shared/errors.ts';
import { parseUsd } from '#shared/money.ts';
import type { Dimension, SpendQuery } from '../../functions/llm-global-spend/report/query.ts';
import type { Label, Note, Reports, SpendGroup, SpendReport } from '../../functions/llm-global-spend/report/report.ts';

/** What one request (or many of the same kind) cost. Names default to ids. */
export interface SpendFact {
  /** YYYY-MM-DD */
  day: string;
  usd: string;
  model?: string;
  provider?: string;
  user?: string;
  team?: string;
  key?: string;
  end_user?: string;
  requests?: number;
  input?: number;
  output?: number;
}

export interface FactReports extends Reports {
  facts: SpendFact[];
  /** Every query so far. */
  asked: SpendQuery[];
  /** Dimensions that the source does not know, as LiteLLM 1.53.7 does not know teams. */
  unsupported: Set<Dimension>;
  names: Record<string, string>;
  notes: Note[];
  failure: Error | undefined;
}

/** Reports over facts that a test holds and changes: the same folding as in the real thing, without a LiteLLM. */
export function createFactReports(facts: SpendFact[], now: () => Date): FactReports {
  const readField = (fact: SpendFact, name: Dimension) =>
    name === 'month' ? fact.day.slice(0, 7) : name === 'tag' ? '' : (fact[name] ?? '');
  const amounts = (found: SpendFact[]) => {
    const sum = (read: (fact: SpendFact) => number) => found.reduce((total, fact) => total + read(fact), 0);
    const [input, output] = [sum((fact) => fact.input ?? 0), sum((fact) => fact.output ?? 0)];
    return {
      spend: found.reduce((total, { usd }) => total + parseUsd(usd), 0n),
      requests: sum((fact) => fact.requests ?? 1),
      tokens: { input, output, total: input + output },
    };
  };
  const spendSince = (day: string) => amounts(reports.facts.filter((fact) => fact.day >= day)).spend;

  const reports: FactReports = {
    facts,
    asked: [],
    unsupported: new Set(),
    names: {},
    notes: [],
    failure: undefined,
    async totals() {
      if (reports.failure) throw reports.failure;
      const today = now().toISOString().slice(0, 10);
      return {
        complete: reports.notes.length === 0,
        notes: reports.notes,
        global: spendSince(''),
        currentMonth: spendSince(`${today.slice(0, 7)}-01`),
        today: spendSince(today),
      };
    },
    async read(query): Promise<SpendReport> {
      if (reports.failure) throw reports.failure;
      reports.asked.push(query);
      const { startDate, endDate, groupBy, filters } = query;
      const refused = groupBy.find((name) => reports.unsupported.has(name));
      if (refused !== undefined) {
        throw new HttpError(422, `This LiteLLM knows no spend by ${refused}`, { code: 'unsupported_by_source' });
      }
      const found = reports.facts.filter(
        (fact) =>
          fact.day >= startDate &&
          fact.day <= endDate &&
          Object.entries(filters).every(([name, value]) => readField(fact, name as Dimension) === value),
      );
      const byKey = Map.groupBy(found, (fact) => JSON.stringify(groupBy.map((name) => readField(fact, name))));
      const groups: SpendGroup[] = [...byKey].map(([key, members]) => {
        const ids = JSON.parse(key) as string[];
        const labels = ids.map((id): Label => ({ id, name: reports.names[id] ?? id }));
        return { by: Object.fromEntries(groupBy.map((name, at) => [name, labels[at]])), ...amounts(members) };
      });
      return {
        window: { startDate, endDate, timezone: 'UTC' },
        groupBy,
        ...amounts(found),
        groups: groupBy.length === 0 ? [] : groups.sort((a, b) => (a.spend < b.spend ? 1 : -1)),
        source: 'facts',
        complete: reports.notes.length === 0,
        notes: reports.notes,
      };
    },
  };
  return reports;
}
