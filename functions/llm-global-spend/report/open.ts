import type { LitellmClient } from '#shared/clients/litellm.ts';
import type { Store } from '#shared/store/store.ts';
import type { Day } from '../days.ts';
import { createDayMemory } from '../memory/days.ts';
import { createFlights } from '../memory/flights.ts';
import { createSweep } from '../memory/sweep.ts';
import { createNames, type NameOverrides } from '../names.ts';
import { createActivitySource } from '../sources/activity.ts';
import { createProxyFacts } from '../sources/proxy.ts';
import { createRowsSource, createScanSource } from '../sources/rows.ts';
import { createSummarySource } from '../sources/summary.ts';
import { createCollect } from './collect.ts';
import type { Reports } from './report.ts';
import { createReports } from './reports.ts';

export interface OpenReportsOptions {
  litellm: LitellmClient;
  kv: Store['kv'];
  /** Whose view of which proxy is remembered. */
  identity: () => string;
  /** The first day that can have spend. */
  epoch: Day;
  utcOffsetMinutes?: number;
  allowFullScan?: boolean;
  nameOverrides?: NameOverrides;
  now: () => Date;
}

/** An offset as a zone that Intl and date-fns know: +02:00, and UTC for none. */
export function toZone(minutes: number): string {
  if (minutes === 0) return 'UTC';
  const absolute = Math.abs(minutes);
  const two = (value: number) => String(value).padStart(2, '0');
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(absolute / 60))}:${two(absolute % 60)}`;
}

/** Puts reports together from LiteLLM and the store. */
export function openReports(options: OpenReportsOptions): Reports {
  const { litellm, kv, identity, epoch, utcOffsetMinutes = 0, allowFullScan = false, now } = options;
  const nowMs = () => now().getTime();
  const facts = createProxyFacts({ litellm, kv, identity, epoch, now: nowMs });
  const names = createNames({ litellm, kv, identity, overrides: options.nameOverrides ?? {}, now: nowMs });
  const proxyZone = { name: toZone(utcOffsetMinutes), offsetMinutes: utcOffsetMinutes };
  const sweep = createSweep({ memory: createDayMemory(kv), share: createFlights(), now: nowMs, identity });

  // Where there is no aggregate, the summary loads a row for each request into the proxy's memory.
  const maxDays = () => (facts.isKnownToLack('aggregated') ? 31 : 366);

  async function sources() {
    const [onRows, onAliases] = [await names.observer(), await names.aliasObserver()];
    const rows = { litellm, now, onRows };
    return {
      aggregated: createActivitySource({ litellm, isAggregated: true, onAliases }),
      activity: createActivitySource({ litellm, isAggregated: false, onAliases }),
      summary: (filter?: { column: 'user' | 'key'; value: string }) =>
        createSummarySource(litellm, { maxDays, ...(filter === undefined ? {} : { filter }) }),
      rows: createRowsSource(rows),
      ...(allowFullScan ? { scan: createScanSource(rows) } : {}),
    };
  }

  const collect = createCollect({ sweep, sources, facts, epoch, proxyZone, now });
  return createReports({ collect, facts, names, epoch, proxyZone: proxyZone.name, now });
}
