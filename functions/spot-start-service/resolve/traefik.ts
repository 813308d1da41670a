import { type Rule, toHostRule } from './rule.ts';

const maxRuleLength = 4_096;
const maxDepth = 32;

/** Quotes what has a meaning in a regexp. */
export const quoteRegexp = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');

/**
 * Traefik 2's `{sub:[a-z]+}.example.com`, where braces hold a name and a regexp and all else is literal, as the regexp
 * that Traefik 3 takes as it is.
 */
export function toGoRegexp(pattern: string): string {
  if (!/\{[A-Za-z_]\w*\s*(:|\})/.test(pattern)) return pattern;
  let regexp = '';
  for (let at = 0; at < pattern.length; ) {
    const open = pattern.indexOf('{', at);
    if (open < 0) return `^${regexp}${quoteRegexp(pattern.slice(at))}$`;
    let depth = 1;
    let end = open + 1;
    for (; end < pattern.length && depth > 0; end++) depth += pattern[end] === '{' ? 1 : pattern[end] === '}' ? -1 : 0;
    const piece = pattern.slice(open + 1, end - 1);
    const colon = piece.indexOf(':');
    regexp += `${quoteRegexp(pattern.slice(at, open))}(?:${colon < 0 ? '[^.]+' : piece.slice(colon + 1)})`;
    at = end;
  }
  return `^${regexp}$`;
}

const or = (rules: (Rule | undefined)[]): Rule | undefined => {
  const known = rules.filter((rule) => rule !== undefined);
  return known.length === 1 ? known[0] : known.length === 0 ? undefined : { op: 'or', rules: known };
};

function toMatcher(name: string, values: string[]): Rule | undefined {
  switch (name.toLowerCase()) {
    case 'host':
    case 'hostsni':
      return or(values.map(toHostRule));
    case 'hostregexp':
    case 'hostsniregexp':
      return or(values.map((value): Rule => ({ op: 'host', pattern: toGoRegexp(value), kind: 'regexp' })));
    case 'pathprefix':
    case 'path':
      // Traefik 2's path may hold a {name:regexp}: the literal part before it decides.
      return or(
        values.map((value): Rule => {
          const literal = value.replace(/\{.*$/, '');
          return { op: 'path', prefix: literal, exact: name.toLowerCase() === 'path' && literal === value };
        }),
      );
    default:
      return { op: 'any' };
  }
}

/** A rule of Traefik 2 or 3: ``Host(`a`) && (PathPrefix(`/x`) || !Host(`b`))``; undefined for what it would refuse. */
export function parseTraefikRule(text: string): Rule | undefined {
  if (text.length > maxRuleLength) return undefined;
  const tokens = text.match(/`[^`]*`|"(?:[^"\\]|\\.)*"|&&|\|\||[!(),]|\w+|\S/g) ?? [];
  let at = 0;
  let depth = 0;
  const take = (token: string) => {
    if (tokens[at] !== token) throw new SyntaxError(token);
    at += 1;
  };

  function parseAll(op: 'or' | 'and'): Rule {
    if (++depth > maxDepth) throw new SyntaxError('too deep');
    const next = () => (op === 'or' ? parseAll('and') : parseOne());
    const rules = [next()];
    while (tokens[at] === (op === 'or' ? '||' : '&&')) {
      at += 1;
      rules.push(next());
    }
    depth -= 1;
    return rules.length === 1 ? (rules[0] as Rule) : { op, rules };
  }

  function parseOne(): Rule {
    const token = tokens[at++] ?? '';
    if (token === '!') return { op: 'not', rule: parseOne() };
    if (token === '(') {
      const inner = parseAll('or');
      take(')');
      return inner;
    }
    if (!/^\w+$/.test(token)) throw new SyntaxError(token);
    take('(');
    const values: string[] = [];
    while (tokens[at] !== ')') {
      const value = tokens[at++];
      if (value === undefined) throw new SyntaxError('end');
      if (/^[`"]/.test(value)) values.push(value.slice(1, -1));
      else if (value !== ',') throw new SyntaxError(value);
    }
    take(')');
    const rule = toMatcher(token, values);
    // A host without a name (a variable that is not set) claims nothing, and neither does what it is combined with.
    if (rule === undefined) throw new SyntaxError('empty');
    return rule;
  }

  try {
    const rule = parseAll('or');
    return at === tokens.length ? rule : undefined;
  } catch {
    return undefined;
  }
}

/** Traefik 1: `Host:a.example,b.example;PathPrefix:/x`. */
export function parseTraefik1Rule(text: string): Rule | undefined {
  if (text.length > maxRuleLength) return undefined;
  const rules = text.split(';').map((part) => {
    const colon = part.indexOf(':');
    const values = part
      .slice(colon + 1)
      .split(/,(?![^{]*\})/)
      .map((value) => value.trim());
    return toMatcher(part.slice(0, colon).trim(), values);
  });
  return rules.some((rule) => rule === undefined) ? undefined : { op: 'and', rules: rules as Rule[] };
}
