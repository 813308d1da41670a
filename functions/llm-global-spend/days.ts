import { TZDate } from '@date-fns/tz';

/** A UTC day as `YYYY-MM-DD`: compares and sorts as text. */
export type Day = string;

/** Half-open: `end` is the first day that is not in it. */
export interface DayWindow {
  start: Day;
  end: Day;
}

export const toDay = (moment: Date): Day => moment.toISOString().slice(0, 10);

/** The day that a moment belongs to in an IANA zone. */
export function toDayIn(moment: Date, timezone: string): Day {
  if (timezone === 'UTC') return toDay(moment);
  const zoned = new TZDate(moment.getTime(), timezone);
  const two = (value: number) => String(value).padStart(2, '0');
  return `${zoned.getFullYear()}-${two(zoned.getMonth() + 1)}-${two(zoned.getDate())}`;
}

export const firstOfMonth = (day: Day): Day => `${day.slice(0, 7)}-01`;

/** True for days that exist: 2028-02-29, but not 2027-02-29. */
export function isDay(text: string): boolean {
  const date = new Date(`${text}T00:00:00Z`);
  return /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(date.getTime()) && toDay(date) === text;
}

export function nextDay(day: Day): Day {
  const date = new Date(`${day}T00:00:00Z`);
  date.setUTCDate(date.getUTCDate() + 1);
  return toDay(date);
}

function nextMonth(day: Day): Day {
  const date = new Date(`${firstOfMonth(day)}T00:00:00Z`);
  date.setUTCMonth(date.getUTCMonth() + 1);
  return toDay(date);
}

/**
 * One window a calendar month, from the month of `epoch` to the end of `today`, without a gap or an overlap. The month
 * of `today` is always among them.
 */
export function toMonthWindows(epoch: Day, today: Day): DayWindow[] {
  const end = nextDay(today);
  const windows: DayWindow[] = [];
  for (let start = firstOfMonth(epoch < today ? epoch : today); start < end; start = nextMonth(start)) {
    const following = nextMonth(start);
    windows.push({ start, end: following < end ? following : end });
  }
  return windows;
}
