import type { LitellmClient, SpendRow } from '#shared/clients/litellm.ts';
import { columns } from '../cells/cell.ts';
import { createRowFold } from '../cells/row-fold.ts';
import { createDayOf, startOfDay } from '../days.ts';
import type { Source } from './source.ts';

export interface RowsOptions {
  litellm: Pick<LitellmClient, 'rowBatches' | 'allRowBatches'>;
  now: () => Date;
  onRows: (rows: readonly SpendRow[]) => void;
}

/** Clocks differ somewhat: rows may begin a little after our now. */
const skewMs = 60_000;

/** Single requests by days: everything, in any zone; one call for each thousand or so. */
export function createRowsSource({ litellm, now, onRows }: RowsOptions): Source {
  return {
    name: 'spend_logs_rows',
    views: [columns],
    hasMoments: true,
    maxDays: 1,
    concurrency: 4,
    async read({ start, end }, { signal, timezone, needed }) {
      const fold = createRowFold({ columns, needed, dayOf: createDayOf(timezone) });
      const [from, endOf] = [startOfDay(start, timezone), startOfDay(end, timezone)];
      const latest = new Date(now().getTime() + skewMs);
      const to = endOf < latest ? endOf : latest;
      for await (const rows of litellm.rowBatches({ from, to, signal, order: 'any' })) {
        onRows(rows);
        fold.add(rows);
      }
      return fold.finish();
    },
  };
}

const oldColumns = columns.filter((column) => column !== 'provider');

/** Every row there is in one answer, where nothing else has them: versions without `custom_llm_provider`. */
export function createScanSource({ litellm, onRows }: RowsOptions): Source {
  return {
    name: 'spend_logs_full_scan',
    views: [oldColumns],
    hasMoments: true,
    maxDays: Number.POSITIVE_INFINITY,
    concurrency: 1,
    async read({ start, end }, { signal, timezone, needed }) {
      const fold = createRowFold({ columns: oldColumns, needed, dayOf: createDayOf(timezone) });
      for await (const rows of litellm.allRowBatches({ signal })) {
        onRows(rows);
        fold.add(rows);
      }
      return fold.finish().filter(({ day }) => day >= start && day < end);
    },
  };
}
