import { HttpError } from '#shared/errors.ts';
import { type Day, firstOfMonth, isDay, toDayIn } from '../days.ts';

export const dimensions = ['day', 'month', 'model', 'provider', 'user', 'team', 'key', 'end_user', 'tag'] as const;
export type Dimension = (typeof dimensions)[number];

export const formats = ['json', 'csv', 'prometheus', 'html'] as const;
export type Format = (typeof formats)[number];

/** Each holds one column to one value; several are joined by "and". */
export interface SpendFilters {
  user?: string;
  /** A sha256, an alias, or a key itself: resolved before it is compared, and an `sk-` key never leaves as it is. */
  key?: string;
  team?: string;
  end_user?: string;
  model?: string;
  tag?: string;
}

export interface SpendQuery {
  /** Both inclusive, days of `timezone`. */
  startDate: Day;
  endDate: Day;
  /** An IANA name. */
  timezone: string;
  filters: SpendFilters;
  /** None, one or two. */
  groupBy: Dimension[];
  /** Reads remembered days again. */
  refresh: boolean;
  /** Throws instead of giving an incomplete report. */
  strict: boolean;
}

export type Filter = keyof SpendFilters;

/** The wire's name of each filter. */
const filterNames: Record<string, Filter> = {
  user_id: 'user',
  api_key: 'key',
  team_id: 'team',
  end_user: 'end_user',
  model: 'model',
  tag: 'tag',
};
const others = ['start_date', 'end_date', 'group_by', 'timezone', 'format', 'refresh', 'strict'];
export const parameterNames = [...others, ...Object.keys(filterNames)];

export const earliestDay = '2020-01-01';
const latestDay = '2099-12-31';

export function refuse(parameter: string, sentence: string): never {
  throw new HttpError(400, `${parameter} ${sentence}`, { code: 'invalid_parameter' });
}

const shown = (value: unknown) => JSON.stringify(String(value).slice(0, 60));

function toText(name: string, value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'string') refuse(name, 'must be a text');
  const text = value.trim();
  if (text.length === 0 || text.length > 500) refuse(name, 'must have 1 to 500 characters');
  // No id has them, and PostgreSQL takes none of the character 0.
  if (/\p{Cc}/u.test(text)) refuse(name, 'must not have control characters');
  return text;
}

function toZone(value: unknown): string {
  const name = toText('timezone', value);
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone;
  } catch {
    return refuse('timezone', `is not known: ${shown(name)}; it takes an IANA name such as UTC or Europe/Berlin`);
  }
}

function toDate(name: string, value: unknown): Day {
  const text = toText(name, value);
  if (isDay(text) && text >= earliestDay && text <= latestDay) return text;
  return refuse(name, `must be a day from ${earliestDay} to ${latestDay} as YYYY-MM-DD, not ${shown(text)}`);
}

function toFlag(name: string, value: unknown): boolean {
  const text = toText(name, value);
  if (text === 'true' || text === '1') return true;
  return text === 'false' || text === '0' ? false : refuse(name, `must be true or false, not ${shown(text)}`);
}

function toGroupBy(value: unknown): Dimension[] {
  const names = [value]
    .flat()
    .flatMap((item) => toText('group_by', item).split(','))
    .map((name) => name.trim());
  const unknown = names.find((name) => !(dimensions as readonly string[]).includes(name));
  if (unknown !== undefined) refuse('group_by', `takes one or two of ${dimensions.join(', ')}, not ${shown(unknown)}`);
  if (names.length > 2 || new Set(names).size < names.length) {
    refuse('group_by', `takes one or two different names of ${dimensions.join(', ')}`);
  }
  return names as Dimension[];
}

/** Parameters of a URL by name; one that is repeated (`group_by=day&group_by=model`) becomes a list. */
export function fromSearch(search: URLSearchParams): Record<string, unknown> {
  const names = [...new Set(search.keys())];
  return Object.fromEntries(
    names.map((name) => {
      const values = search.getAll(name);
      return [name, values.length === 1 ? values[0] : values];
    }),
  );
}

/** Fields of a JSON body; null is the same as absent. Throws HttpError 400. */
export function fromBody(body: unknown): Record<string, unknown> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new HttpError(400, `The body must be a JSON object with any of ${parameterNames.join(', ')}`, {
      code: 'invalid_json',
    });
  }
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
}

/**
 * Checks a report's parameters. Without dates it is the month so far, in the zone of the query. Throws HttpError 400
 * that names the parameter and what is allowed.
 */
export function parseQuery(input: Record<string, unknown>, now: Date): { query: SpendQuery; format?: Format } {
  const unknown = Object.keys(input).find((name) => !parameterNames.includes(name));
  if (unknown !== undefined) {
    const sentence = `Unknown parameter ${shown(unknown)}: this function takes ${parameterNames.join(', ')}`;
    throw new HttpError(400, sentence, { code: 'unknown_parameter' });
  }
  const timezone = input.timezone === undefined ? 'UTC' : toZone(input.timezone);
  const today = toDayIn(now, timezone);
  const endDate = input.end_date === undefined ? undefined : toDate('end_date', input.end_date);
  const startDate =
    input.start_date === undefined ? firstOfMonth(endDate ?? today) : toDate('start_date', input.start_date);
  const end = endDate ?? (today < startDate ? startDate : today);
  if (end < startDate) refuse('end_date', `must not be before start_date: ${end} is before ${startDate}`);

  const filters: SpendFilters = {};
  for (const [name, filter] of Object.entries(filterNames)) {
    if (input[name] !== undefined) filters[filter] = toText(name, input[name]);
  }
  const format = input.format === undefined ? undefined : toText('format', input.format);
  if (format !== undefined && !(formats as readonly string[]).includes(format)) {
    refuse('format', `takes one of ${formats.join(', ')}, not ${shown(format)}`);
  }
  return {
    query: {
      startDate,
      endDate: end,
      timezone,
      filters,
      groupBy: input.group_by === undefined ? [] : toGroupBy(input.group_by),
      refresh: input.refresh === undefined ? false : toFlag('refresh', input.refresh),
      strict: input.strict === undefined ? false : toFlag('strict', input.strict),
    },
    ...(format === undefined ? {} : { format: format as Format }),
  };
}
