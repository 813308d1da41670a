import { parseDecimal, type Rate } from './billing/money.ts';

function parseTable(text: string, what: string): [string, string][] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(`must be JSON: ${what}`);
  }
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  const entries = isObject ? Object.entries(value as Record<string, unknown>) : [];
  const texts = entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string' && entry[1] !== '');
  if (!isObject || texts.length !== entries.length) throw new Error(`must be ${what}`);
  return texts;
}

/** `{"<id>": "<subscription>"}`. Throws Error that says what is wrong and shows no id. */
export function parseMapping(text: string): ReadonlyMap<string, string> {
  const entries = parseTable(text, 'an object of ids to subscriptions, {"team-a": "sub_team_a"}');
  const trimmed = entries.map(([id, subscription]) => [id.trim(), subscription.trim()] as const);
  if (trimmed.some(([, subscription]) => subscription === '' || subscription.includes('/'))) {
    throw new Error('has a subscription that is empty or has a slash, which Lago does not take');
  }
  return new Map(trimmed);
}

/** `{"2026-01-01": "0.92"}`: what a US dollar is from that day on (UTC). Ascending. Throws Error. */
export function parseRates(text: string): Rate[] {
  const what = 'an object of days to what a US dollar is from then on, {"2026-01-01": "0.92"}';
  const rates = parseTable(text, what).map(([day, rateText]) => {
    const rate = parseDecimal(rateText);
    const from = /^\d{4}-\d{2}-\d{2}$/.test(day) ? Date.parse(`${day}T00:00:00Z`) : Number.NaN;
    if (rate === undefined || rate.digits === 0n || Number.isNaN(from)) throw new Error(`must be ${what}`);
    return { from, text: rateText, rate };
  });
  return rates.sort((left, right) => left.from - right.from);
}
