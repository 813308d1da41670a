import { addAmounts, type Column, type DayCells, noAmounts, splitTags } from '../cells/cell.ts';
import type { Dimension } from './query.ts';
import type { Amounts, Label, SpendGroup } from './report.ts';

/** Which values of a column count. */
export type ValueFilters = Partial<Record<Column, ReadonlySet<string>>>;

export interface FoldedGroup extends Amounts {
  /** One for each dimension, in their order. */
  ids: string[];
}

export const columnsOf = (dimensions: readonly Dimension[], filters: ValueFilters): Column[] => [
  ...new Set([
    ...dimensions.filter((dimension): dimension is Column => dimension !== 'day' && dimension !== 'month'),
    ...(Object.keys(filters) as Column[]),
  ]),
];

/** Adds the groups of a report up by one of its dimensions; what one group does not tell, their sum does not. */
export function foldGroups(dimension: Dimension, groups: readonly SpendGroup[]): (Label & Amounts)[] {
  const folded = new Map<string, Label & Amounts>();
  for (const { by, ...amounts } of groups) {
    const label = by[dimension] ?? { id: '', name: '' };
    let sum = folded.get(label.id);
    if (sum === undefined) {
      sum = { ...label, ...noAmounts() };
      folded.set(label.id, sum);
    }
    addAmounts(sum, amounts);
  }
  return [...folded.values()];
}

/**
 * Adds days up to a total and its groups. Groups sum to the total exactly, but for tags, where a request counts for each
 * of its tags.
 */
export function createReportFold(groupBy: readonly Dimension[], filters: ValueFilters) {
  const total = noAmounts();
  const groups = new Map<string, FoldedGroup>();

  function addGroup(ids: string[], amounts: Amounts) {
    const key = ids.join('\0');
    let group = groups.get(key);
    if (group === undefined) {
      group = { ids, ...noAmounts() };
      groups.set(key, group);
    }
    addAmounts(group, amounts);
  }

  return {
    add({ day, columns, cells }: DayCells) {
      const checks = (Object.entries(filters) as [Column, ReadonlySet<string>][])
        .map(([column, wanted]) => ({ index: columns.indexOf(column), isTag: column === 'tag', wanted }))
        // A column that is not there was filtered by LiteLLM.
        .filter(({ index }) => index >= 0);
      for (const cell of cells) {
        const isWanted = checks.every(({ index, isTag, wanted }) => {
          const value = cell.values[index]!;
          return isTag ? splitTags(value).some((tag) => wanted.has(tag)) : wanted.has(value);
        });
        if (!isWanted) continue;
        addAmounts(total, cell);
        if (groupBy.length === 0) continue;
        let idLists: string[][] = [[]];
        for (const dimension of groupBy) {
          const values =
            dimension === 'day'
              ? [day]
              : dimension === 'month'
                ? [day.slice(0, 7)]
                : dimension === 'tag'
                  ? splitTags(cell.values[columns.indexOf(dimension)]!)
                  : [cell.values[columns.indexOf(dimension)]!];
          idLists = idLists.flatMap((ids) => values.map((value) => [...ids, value]));
        }
        for (const ids of idLists) addGroup(ids, cell);
      }
    },

    /** Most spend first, then by id, so that the order is always the same. */
    finish(): { total: Amounts; groups: FoldedGroup[] } {
      const sorted = [...groups.values()].sort((left, right) => {
        if (left.spend !== right.spend) return left.spend < right.spend ? 1 : -1;
        return left.ids.join('\0') < right.ids.join('\0') ? -1 : 1;
      });
      return { total, groups: sorted };
    },
  };
}
