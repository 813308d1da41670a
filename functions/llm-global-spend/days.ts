import { TZDate } from '@date-fns/tz';

/** A day as `YYYY-MM-DD`, UTC unless said otherwise: compares and sorts as text. */
export type Day = string;

/** Half-open: `end` is the first day that is not in it. */
export interface DayWindow {
  start: Day;
  end: Day;
}

export const toDay = (moment: Date): Day => moment.toISOString().slice(0, 10);

/** The day that a moment belongs to in a zone: an IANA name, or an offset such as +02:00. */
export function toDayIn(moment: Date, timezone: string): Day {
  if (timezone === 'UTC') return toDay(moment);
  const zoned = new TZDate(moment.getTime(), timezone);
  const two = (value: number) => String(value).padStart(2, '0');
  return `${zoned.getFullYear()}-${two(zoned.getMonth() + 1)}-${two(zoned.getDate())}`;
}

/** The first moment of a day in a zone. */
export function startOfDay(day: Day, timezone: string): Date {
  if (timezone === 'UTC') return new Date(`${day}T00:00:00Z`);
  const [year, month, date] = day.split('-').map(Number) as [number, number, number];
  return new Date(new TZDate(year, month - 1, date, timezone).getTime());
}

/** Zones change at quarters of an hour, so that one look-up serves a quarter's rows. */
const quarterMs = 900_000;

/** `toDayIn` for very many moments. */
export function createDayOf(timezone: string): (moment: Date) => Day {
  const days = new Map<number, Day>();
  return (moment) => {
    const quarter = Math.floor(moment.getTime() / quarterMs);
    let day = days.get(quarter);
    if (day === undefined) {
      day = toDayIn(new Date(quarter * quarterMs), timezone);
      days.set(quarter, day);
    }
    return day;
  };
}

/** True where every day of the window begins this many minutes ahead of UTC: then the zone's days are the proxy's. */
export function hasOffset(window: DayWindow, timezone: string, offsetMinutes: number): boolean {
  if (timezone === 'UTC') return offsetMinutes === 0;
  for (let day = window.start; ; day = nextDay(day)) {
    const utc = new Date(`${day}T00:00:00Z`).getTime();
    if (utc - startOfDay(day, timezone).getTime() !== offsetMinutes * 60_000) return false;
    if (day >= window.end) return true;
  }
}

export const firstOfMonth = (day: Day): Day => `${day.slice(0, 7)}-01`;

/** True for days that exist: 2028-02-29, but not 2027-02-29. */
export function isDay(text: string): boolean {
  const date = new Date(`${text}T00:00:00Z`);
  return /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(date.getTime()) && toDay(date) === text;
}

export function addDays(day: Day, count: number): Day {
  const date = new Date(`${day}T00:00:00Z`);
  date.setUTCDate(date.getUTCDate() + count);
  return toDay(date);
}

export const nextDay = (day: Day): Day => addDays(day, 1);

export function* daysOf({ start, end }: DayWindow): Generator<Day> {
  for (let day = start; day < end; day = nextDay(day)) yield day;
}

/**
 * Days in a row become windows of at most `maxDays` each. One that is shorter than a month does not cross the end of
 * one, so that the windows of tomorrow are today's, but for the last.
 */
export function toWindows(days: Iterable<Day>, maxDays: number): DayWindow[] {
  const windows: (DayWindow & { length: number })[] = [];
  for (const day of days) {
    const last = windows.at(-1);
    const breaks = maxDays <= 31 && day.endsWith('-01');
    if (last !== undefined && last.end === day && last.length < maxDays && !breaks) {
      last.end = nextDay(day);
      last.length += 1;
    } else windows.push({ start: day, end: nextDay(day), length: 1 });
  }
  return windows.map(({ start, end }) => ({ start, end }));
}

/** The two halves of a window of at least two days. */
export function halve({ start, end }: DayWindow): [DayWindow, DayWindow] {
  const length = Math.round((Date.parse(end) - Date.parse(start)) / 86_400_000);
  const middle = addDays(start, Math.ceil(length / 2));
  return [
    { start, end: middle },
    { start: middle, end },
  ];
}
