import type { LitellmClient, SpendDay } from '#shared/clients/litellm.ts';
import type { PicoUsd } from '#shared/money.ts';
import { type Cell, type Column, type DayCells, floatNoise } from '../cells/cell.ts';
import type { Source } from './source.ts';

const toCell = (value: string[], spend: PicoUsd): Cell => ({ values: value, spend, requests: null, tokens: null });

/** What the shares do not explain is shown as "none", so that every view sums to the day. */
function toView(day: SpendDay, column: Column, shares: Map<string, PicoUsd>): DayCells {
  const known = [...shares.values()].reduce((sum, spend) => sum + spend, 0n);
  const rest = day.spend - known;
  const cells = new Map(shares);
  if (rest > floatNoise || rest < -floatNoise) cells.set('', (cells.get('') ?? 0n) + rest);
  return { day: day.day, columns: [column], cells: [...cells].map(([value, spend]) => toCell([value], spend)) };
}

function toViews(day: SpendDay): DayCells[] {
  // Days after the last one with rows are padding.
  const isPadding = day.spend === 0n && day.models.size === 0 && day.keys.size === 0;
  return [
    { day: day.day, columns: [], cells: isPadding ? [] : [toCell([], day.spend)] },
    toView(day, 'user', day.users),
    toView(day, 'model', day.models),
    toView(day, 'key', day.keys),
  ];
}

/** `/spend/logs` with dates: every version has it; money by day, user, model and key, each on its own. */
export function createSummarySource(
  litellm: Pick<LitellmClient, 'spendByDay'>,
  options: { maxDays: () => number; filter?: { column: 'user' | 'key'; value: string } },
): Source {
  const { filter } = options;
  return {
    name: 'spend_logs_summary',
    views: [[], ['user'], ['model'], ['key']],
    hasMoments: false,
    get maxDays() {
      return options.maxDays();
    },
    concurrency: 4,
    ...(filter === undefined ? {} : { filter }),
    async read({ start, end }, { signal }) {
      const wanted = filter === undefined ? {} : { [filter.column === 'user' ? 'userId' : 'keyHash']: filter.value };
      return (await litellm.spendByDay({ start, end, signal, ...wanted })).flatMap(toViews);
    },
  };
}
