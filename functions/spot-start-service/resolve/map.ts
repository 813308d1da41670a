import { type Rule, toHostRule } from './rule.ts';

export interface HostMapping {
  rule: Rule;
  /** Name or id; undefined: any. */
  endpoint: string | undefined;
  stack: string;
}

/**
 * `SPOT_START_HOSTS`: `media.example.com=mediaservice, *.photos.example.com=prod-vm-2/photos`. Undefined for text that
 * is none.
 */
export function parseHostMap(text: string): HostMapping[] | undefined {
  const mappings: HostMapping[] = [];
  for (const item of text.split(/[,\n]/)) {
    if (item.trim() === '') continue;
    const [host = '', target = '', ...rest] = item.split('=').map((part) => part.trim());
    const rule = toHostRule(host);
    const slash = target.indexOf('/');
    const stack = target.slice(slash + 1).trim();
    if (rule === undefined || stack === '' || rest.length > 0) return undefined;
    mappings.push({ rule, stack, endpoint: slash < 0 ? undefined : target.slice(0, slash).trim() });
  }
  return mappings;
}
