import { isWorthHalving } from '#shared/clients/litellm-advice.ts';
import type { Column, DayCells } from '../cells/cell.ts';
import { type Day, type DayWindow, daysOf, halve, toWindows } from '../days.ts';
import { findView, type Source } from '../sources/source.ts';
import type { DayMemory } from './days.ts';
import type { ShareFlight } from './flights.ts';

export interface SweepOptions {
  memory: DayMemory;
  share: ShareFlight;
  now: () => number;
  /** Whose view of which proxy: days of another are not these. */
  identity: () => string;
}

export interface SweepCall {
  source: Source;
  days: readonly Day[];
  timezone: string;
  needed: readonly Column[];
  /** Days before this one are over for good, and remembered. */
  closedBefore: Day;
  refresh: boolean;
  signal: AbortSignal;
  onDay: (day: DayCells) => void;
}

/** How long a day that is not over is good for: LiteLLM itself writes every ten seconds at best. */
const freshMs = 10_000;
const lookups = 16;

/** Runs `work` over the items, a few at a time; the first failure ends the others. */
async function forEach<T>(
  items: readonly T[],
  options: { concurrency: number; signal: AbortSignal },
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const pending = items.values();
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  async function run() {
    // The workers share one iterator, so each item is taken once.
    for (const item of pending) {
      signal.throwIfAborted();
      await work(item, signal);
    }
  }
  try {
    await Promise.all(Array.from({ length: Math.min(options.concurrency, items.length) }, run));
  } catch (error) {
    failed.abort(error);
    throw error;
  }
}

/** Reads a window; one that takes too long or is cut is read by halves, down to a day. */
async function readHalving(
  window: DayWindow,
  read: (window: DayWindow) => Promise<DayCells[]>,
  signal: AbortSignal,
): Promise<DayCells[]> {
  try {
    return await read(window);
  } catch (error) {
    const [left, right] = halve(window);
    if (signal.aborted || !isWorthHalving(error) || right.start >= window.end) throw error;
    return [...(await readHalving(left, read, signal)), ...(await readHalving(right, read, signal))];
  }
}

/**
 * Gives every day of a source once: remembered days from the store, the others from LiteLLM, by windows a few at a time.
 * Equal windows at the same time are read once. Days that are over are remembered; the last ones for some seconds only.
 */
export function createSweep({ memory, share, now, identity }: SweepOptions) {
  const fresh = new Map<string, { at: number; views: DayCells[] }>();

  function keyOf({ source, timezone }: SweepCall): string {
    const zone = source.hasMoments ? timezone : 'proxy';
    const filter = source.filter === undefined ? '' : `${source.filter.column}=${source.filter.value}`;
    return ['day', identity(), source.name, zone, filter].join('/');
  }

  function emit(call: SweepCall, views: DayCells[]): boolean {
    const columns = views.map((view) => view.columns);
    const found = findView(columns, call.needed);
    const view = views.find((item) => item.columns === found);
    if (view === undefined) return false;
    call.onDay(view);
    return true;
  }

  function forgetStale() {
    for (const [key, { at }] of fresh) if (now() - at >= freshMs) fresh.delete(key);
  }

  async function recall(call: SweepCall, key: string): Promise<Day[]> {
    if (call.refresh) return [...call.days];
    const missing: Day[] = [];
    const isOver = (day: Day) => day < call.closedBefore;
    const remembered = await memory.recall(key, call.days.filter(isOver));
    call.signal.throwIfAborted();
    for (const day of call.days) {
      const views = isOver(day) ? remembered.get(day) : fresh.get(`${key}/${day}`)?.views;
      if (views === undefined || !emit(call, views)) missing.push(day);
    }
    return missing.sort();
  }

  return async function sweep(call: SweepCall): Promise<void> {
    const { source, timezone, needed, closedBefore, signal } = call;
    const key = keyOf(call);
    forgetStale();
    const missing = await recall(call, key);
    // A source without windows reads everything, and so everything is worth remembering.
    const wanted = Number.isFinite(source.maxDays) || missing.length === 0 ? missing : call.days;
    const emitted = new Set(missing);

    async function readWindow(window: DayWindow, windowSignal: AbortSignal): Promise<Map<Day, DayCells[]>> {
      const read = (part: DayWindow) => source.read(part, { signal: windowSignal, timezone, needed });
      const found = await readHalving(window, read, windowSignal);
      const byDay = Map.groupBy(found, ({ day }) => day);
      const days = new Map<Day, DayCells[]>();
      for (const day of daysOf(window)) {
        const views = byDay.get(day) ?? source.views.map((columns) => ({ day, columns, cells: [] }));
        days.set(day, views);
        if (day >= closedBefore) fresh.set(`${key}/${day}`, { at: now(), views });
      }
      const closed = [...days].filter(([day]) => day < closedBefore);
      // A year of days one after the other would wait for the store's disk a year of times.
      await forEach(closed, { concurrency: lookups, signal: windowSignal }, ([day, views]) =>
        memory.remember(key, day, views),
      );
      return days;
    }

    // The newest first: they are asked for most, and an old version shows with them what it cannot tell.
    const windows = toWindows(wanted, source.maxDays).reverse();
    await forEach(windows, { concurrency: source.concurrency, signal }, async (window, windowSignal) => {
      // What is kept when there are too many cells differs by need, so that only equal needs share.
      const flight = `${key}/${window.start}/${window.end}/${[...needed].sort()}/${call.refresh}`;
      const days = await share(flight, windowSignal, (flightSignal) => readWindow(window, flightSignal));
      for (const [day, views] of days) if (emitted.has(day)) emit(call, views);
    });
  };
}

export type Sweep = ReturnType<typeof createSweep>;
