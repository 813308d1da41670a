import { type Day, firstOfMonth, toDay } from '../days.ts';
import type { Filter, SpendFilters, SpendQuery } from '../report/query.ts';

/** The wire's names of the filters. */
const parameters: Record<Filter, string> = {
  user: 'user_id',
  key: 'api_key',
  team: 'team_id',
  end_user: 'end_user',
  model: 'model',
  tag: 'tag',
};

/**
 * A link to the same path with another query. A page cannot know whether its address is /function/<name> or
 * /function/<name>/, where a relative path would lead to two different places; a query alone leads to one.
 */
export function toLink(
  { startDate, endDate, timezone, filters }: Pick<SpendQuery, 'startDate' | 'endDate' | 'timezone' | 'filters'>,
  more: Record<string, string> = {},
): string {
  const search = new URLSearchParams({ start_date: startDate, end_date: endDate });
  if (timezone !== 'UTC') search.set('timezone', timezone);
  for (const [filter, value] of Object.entries(filters)) search.set(parameters[filter as Filter], value);
  for (const [name, value] of Object.entries(more)) search.set(name, value);
  return `?${search}`;
}

export const withoutFilter = (filters: SpendFilters, filter: Filter): SpendFilters =>
  Object.fromEntries(Object.entries(filters).filter(([name]) => name !== filter));

/** The parameters that a form has to repeat beside the two dates. */
export const hiddenFields = ({ timezone, filters }: SpendQuery): [string, string][] => [
  ...(timezone === 'UTC' ? [] : [['timezone', timezone] as [string, string]]),
  ...Object.entries(filters).map(([filter, value]): [string, string] => [parameters[filter as Filter], value]),
];

export interface Preset {
  name: string;
  startDate: Day;
  endDate: Day;
}

/** What the period picker offers; `today` is a day of the query's zone. */
export function toPresets(today: Day): Preset[] {
  const shift = (days: number) => toDay(new Date(Date.parse(`${today}T00:00:00Z`) - days * 86_400_000));
  const month = firstOfMonth(today);
  const lastDayBefore = toDay(new Date(Date.parse(`${month}T00:00:00Z`) - 86_400_000));
  const yearAgo = firstOfMonth(toDay(new Date(Date.UTC(Number(today.slice(0, 4)), Number(today.slice(5, 7)) - 12, 1))));
  return [
    { name: 'Today', startDate: today, endDate: today },
    { name: '7 days', startDate: shift(6), endDate: today },
    { name: 'This month', startDate: month, endDate: today },
    { name: 'Last month', startDate: firstOfMonth(lastDayBefore), endDate: lastDayBefore },
    { name: '90 days', startDate: shift(89), endDate: today },
    { name: '12 months', startDate: yearAgo, endDate: today },
  ];
}
