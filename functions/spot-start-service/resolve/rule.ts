import { toHost } from './referral.ts';

/** What a label, a variable or the operator's map says about hosts and paths, in one form for all of them. */
export type Rule =
  | { op: 'and' | 'or'; rules: Rule[] }
  | { op: 'not'; rule: Rule }
  | { op: 'host'; pattern: string; kind: 'exact' | 'wildcard' | 'regexp' }
  | { op: 'path'; prefix: string; exact: boolean }
  /** Something that a URL does not tell (a header, an address): taken for true. */
  | { op: 'any' };

export interface Wish {
  host: string;
  path: string;
}

/** How closely a rule fits: an exact host before a wildcard before a regexp, then the longer path. */
export interface Fit {
  kind: 0 | 1 | 2;
  prefix: number;
}

/** Runs a Go regexp in time that grows with its input alone; false for one that cannot be read or that matches every host. */
export type Matches = (regexp: string, host: string) => boolean;

const kinds = { exact: 0, wildcard: 1, regexp: 2 } as const;
type Partial = { kind: 0 | 1 | 2 | undefined; prefix: number };

/** `*.example.com` is one more label, `**.example.com` any number, `foo.*` (nginx) the rest. */
function matchesWildcard(pattern: string, host: string): boolean {
  if (pattern.endsWith('.*')) return host.startsWith(pattern.slice(0, -1)) && host.length >= pattern.length;
  const suffix = pattern.slice(pattern.indexOf('.'));
  if (suffix.length < 2 || !host.endsWith(suffix)) return false;
  const rest = host.slice(0, -suffix.length);
  return rest !== '' && (pattern.startsWith('**') || !rest.includes('.'));
}

function evaluate(rule: Rule, wish: Wish, matches: Matches): Partial | undefined {
  switch (rule.op) {
    case 'any':
      return { kind: undefined, prefix: 0 };
    case 'path': {
      const { prefix, exact } = rule;
      const fits = exact ? wish.path === prefix : wish.path.startsWith(prefix);
      return fits ? { kind: undefined, prefix: prefix.length } : undefined;
    }
    case 'host': {
      const { pattern, kind } = rule;
      const fits =
        kind === 'exact'
          ? pattern === wish.host
          : kind === 'wildcard'
            ? matchesWildcard(pattern, wish.host)
            : matches(pattern, wish.host);
      return fits ? { kind: kinds[kind], prefix: 0 } : undefined;
    }
    case 'not':
      // What cannot be judged is true in both directions.
      return rule.rule.op !== 'any' && evaluate(rule.rule, wish, matches) !== undefined
        ? undefined
        : { kind: undefined, prefix: 0 };
    case 'and': {
      const found = rule.rules.map((item) => evaluate(item, wish, matches));
      if (found.some((item) => item === undefined)) return undefined;
      return (found as Partial[]).reduce((one, other) => ({
        kind: one.kind === undefined ? other.kind : other.kind === undefined ? one.kind : worse(one.kind, other.kind),
        prefix: Math.max(one.prefix, other.prefix),
      }));
    }
    default: {
      const found = rule.rules.flatMap((item) => evaluate(item, wish, matches) ?? []);
      return found.toSorted((one, other) => compareFits(toFit(one), toFit(other)))[0];
    }
  }
}

const worse = (one: 0 | 1 | 2, other: 0 | 1 | 2) => (one > other ? one : other);
const toFit = ({ kind, prefix }: Partial) => ({ kind: kind ?? (9 as 2), prefix });

/** Negative when the first fits better. */
export const compareFits = (one: Fit, other: Fit) => one.kind - other.kind || other.prefix - one.prefix;

/** Undefined when the rule does not fit, or fits whatever the host is: error pages and catch-alls claim everything. */
export function fitRule(rule: Rule, wish: Wish, matches: Matches): Fit | undefined {
  const found = evaluate(rule, wish, matches);
  return found?.kind === undefined ? undefined : { kind: found.kind, prefix: found.prefix };
}

/** A host as people write it, wildcards included; undefined for one that would claim everything or nothing. */
export function toHostRule(text: string): Rule | undefined {
  const pattern = toHost(text);
  if (pattern === '' || /^[*.]+$/.test(pattern) || /[\s/{}$]/.test(pattern)) return undefined;
  if (!pattern.includes('*')) return { op: 'host', pattern, kind: 'exact' };
  const isWildcard = /^\*\*?\.[^*]+$|^[^*]+\.\*$/.test(pattern);
  return isWildcard ? { op: 'host', pattern, kind: 'wildcard' } : undefined;
}

/** True when a rule needs the regexp engine. */
export function usesRegexp(rule: Rule): boolean {
  if (rule.op === 'host') return rule.kind === 'regexp';
  if (rule.op === 'not') return usesRegexp(rule.rule);
  return rule.op === 'and' || rule.op === 'or' ? rule.rules.some(usesRegexp) : false;
}
