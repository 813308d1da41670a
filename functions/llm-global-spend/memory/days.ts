import type { Store } from '#shared/store/store.ts';
import type { Cell, Column, DayCells } from '../cells/cell.ts';
import type { Day } from '../days.ts';

/** Compact, as a day can have thousands: values, pico-USD as text, requests, input, output and total tokens. */
type StoredCell = [string[], string, number | null, number, number, number];
interface StoredDay {
  views: { columns: Column[]; cells: StoredCell[] }[];
}

function toStored({ values, spend, requests, tokens }: Cell): StoredCell {
  const { input, output, total } = tokens ?? { input: -1, output: 0, total: 0 };
  return [[...values], String(spend), requests, input, output, total];
}

function fromStored([values, spend, requests, input, output, total]: StoredCell): Cell {
  return { values, spend: BigInt(spend), requests, tokens: input < 0 ? null : { input, output, total } };
}

const toKey = (key: string, day: Day) => `${key}/${day}`;

/** Days that are over and were read, each with everything that its source told. */
export function createDayMemory(kv: Pick<Store['kv'], 'getAll' | 'put'>) {
  return {
    /** The remembered ones of some days. */
    async recall(key: string, days: readonly Day[]): Promise<Map<Day, DayCells[]>> {
      if (days.length === 0) return new Map();
      const stored = (await kv.getAll(days.map((day) => toKey(key, day)))) as Map<string, StoredDay>;
      const found = new Map<Day, DayCells[]>();
      for (const day of days) {
        const views = stored.get(toKey(key, day))?.views;
        if (views === undefined) continue;
        found.set(
          day,
          views.map(({ columns, cells }) => ({ day, columns, cells: cells.map(fromStored) })),
        );
      }
      return found;
    },
    async remember(key: string, day: Day, views: DayCells[]): Promise<void> {
      const stored: StoredDay = {
        views: views.map(({ columns, cells }) => ({ columns: [...columns], cells: cells.map(toStored) })),
      };
      await kv.put(toKey(key, day), stored);
    },
  };
}

export type DayMemory = ReturnType<typeof createDayMemory>;
