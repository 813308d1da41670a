import type { SpendRow } from '#shared/clients/litellm.ts';
import type { PicoUsd } from '#shared/money.ts';
import type { Day } from '../days.ts';
import { type Column, type DayCells, joinTags } from './cell.ts';

/** More cells than that in one fold, and it keeps only the columns that the query needs. */
export const maxCells = 50_000;

const readers: Record<Column, (row: SpendRow) => string> = {
  model: (row) => row.model,
  provider: (row) => row.provider ?? '',
  user: (row) => row.user ?? '',
  team: (row) => row.teamId ?? '',
  key: (row) => row.apiKeyHash ?? '',
  end_user: (row) => row.endUser ?? '',
  tag: (row) => joinTags(row.tags),
};

interface Sum {
  day: Day;
  values: string[];
  spend: PicoUsd;
  requests: number;
  input: number;
  output: number;
  total: number;
}

export interface RowFoldOptions {
  columns: readonly Column[];
  /** Columns that are kept when there are too many cells. */
  needed: readonly Column[];
  dayOf: (moment: Date) => Day;
  limit?: number;
}

/** Adds rows up as they come, and holds none of them. */
export function createRowFold({ columns, needed, dayOf, limit = maxCells }: RowFoldOptions) {
  let kept = columns;
  let sums = new Map<string, Sum>();

  function add(day: Day, values: string[], from: Omit<Sum, 'day' | 'values'>) {
    const key = `${day}\0${values.join('\0')}`;
    const sum = sums.get(key);
    if (sum === undefined) {
      const { spend, requests, input, output, total } = from;
      sums.set(key, { day, values, spend, requests, input, output, total });
      return;
    }
    sum.spend += from.spend;
    sum.requests += from.requests;
    sum.input += from.input;
    sum.output += from.output;
    sum.total += from.total;
  }

  function narrow() {
    const indexes = needed.map((column) => kept.indexOf(column));
    const before = sums;
    kept = needed;
    sums = new Map();
    for (const sum of before.values())
      add(
        sum.day,
        indexes.map((index) => sum.values[index]!),
        sum,
      );
  }

  return {
    add(rows: readonly SpendRow[]) {
      const read = kept.map((column) => readers[column]);
      for (const row of rows) {
        const day = dayOf(row.startTime);
        // Most rows have a cell already: its key is made without anything else.
        let key: string = day;
        for (const value of read) key += `\0${value(row)}`;
        const sum = sums.get(key);
        if (sum !== undefined) {
          sum.spend += row.spend;
          sum.requests += 1;
          sum.input += row.promptTokens;
          sum.output += row.completionTokens;
          sum.total += row.totalTokens;
          continue;
        }
        sums.set(key, {
          day,
          values: read.map((value) => value(row)),
          spend: row.spend,
          requests: 1,
          input: row.promptTokens,
          output: row.completionTokens,
          total: row.totalTokens,
        });
      }
      if (sums.size > limit && kept.length > needed.length) narrow();
    },

    /** The days that had rows. */
    finish(): DayCells[] {
      const days = new Map<Day, DayCells>();
      for (const { day, values, spend, requests, input, output, total } of sums.values()) {
        let cells = days.get(day);
        if (cells === undefined) {
          cells = { day, columns: kept, cells: [] };
          days.set(day, cells);
        }
        cells.cells.push({ values, spend, requests, tokens: { input, output, total } });
      }
      return [...days.values()];
    },
  };
}
