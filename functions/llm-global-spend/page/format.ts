import { formatUsd, type PicoUsd, usdToNumber } from '#shared/money.ts';
import type { Day } from '../days.ts';

/** Dollars for people: cents from a dollar up, four digits after the point below it, and never a 0 for what is not. */
export function dollars(spend: PicoUsd): string {
  const amount = usdToNumber(spend);
  const size = Math.abs(amount);
  const sign = amount < 0 ? '−' : '';
  if (size === 0) return '$0';
  if (size < 0.0001) return `${sign}<$0.0001`;
  const digits = size < 1 ? 4 : 2;
  return `${sign}$${size.toLocaleString('en-US', { minimumFractionDigits: 2, maximumFractionDigits: digits })}`;
}

/** Every digit, for a tooltip. */
export const exactDollars = (spend: PicoUsd) => `${formatUsd(spend)} USD`;

export const count = (value: number | null) => (value === null ? '–' : value.toLocaleString('en-US'));

/** 1,234 · 12.3K · 4.56M */
export function compact(value: number | null): string {
  if (value === null) return '–';
  const form = { notation: 'compact', maximumSignificantDigits: 3 } as const;
  return value < 10_000 ? count(value) : value.toLocaleString('en-US', form);
}

export const percentOf = (part: PicoUsd, whole: PicoUsd) => (whole <= 0n ? 0 : Number((part * 1000n) / whole) / 10);

const date = (day: Day) => new Date(`${day}T00:00:00Z`);
const write = (form: Intl.DateTimeFormatOptions) => {
  // Made with the first day: Node takes 8 ms for the first one, of a start that may never show a page.
  let writer: Intl.DateTimeFormat | undefined;
  return (day: Day) => {
    writer ??= new Intl.DateTimeFormat('en-GB', { ...form, timeZone: 'UTC' });
    // The four letters of September would be the only ones.
    return writer.format(date(day)).replace('Sept ', 'Sep ').replace(/Sept$/, 'Sep');
  };
};

/** 5 Nov */
export const shortDay = write({ day: 'numeric', month: 'short' });
/** Thu, 5 Nov 2026 */
export const longDay = write({ weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' });
/** November 2026, of a day or of a month as YYYY-MM */
export const longMonth = (month: string) => write({ month: 'long', year: 'numeric' })(`${month.slice(0, 7)}-01`);
/** Nov 26 */
export const shortMonth = (month: string) => write({ month: 'short', year: '2-digit' })(`${month.slice(0, 7)}-01`);

/** 1 Nov – 21 Nov 2026, or one day. */
export function dayRange(start: Day, end: Day): string {
  if (start === end) return longDay(start);
  const withYear = write({ day: 'numeric', month: 'short', year: 'numeric' });
  return `${start.slice(0, 4) === end.slice(0, 4) ? shortDay(start) : withYear(start)} – ${withYear(end)}`;
}
