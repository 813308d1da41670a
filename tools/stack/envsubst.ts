/** The variables that a stack file may name. */
export type Variables = Record<string, string | undefined>;

/** Where the brace that opens at `open` closes; nested `${...}` in a default are stepped over. */
function closingBrace(text: string, open: number): number {
  let depth = 0;
  for (let index = open; index < text.length; index += 1) {
    if (text.startsWith('${', index)) {
      depth += 1;
      index += 1;
    } else if (text[index] === '}') {
      depth -= 1;
      if (depth === 0) return index;
    }
  }
  const line = text.slice(0, open).split('\n').length;
  throw new Error(`line ${line}: "\${" is never closed`);
}

/** A shell pattern as the source of a regular expression: `*` and `?` are wild, all else is itself. */
const patternSource = (pattern: string, greedy: boolean) =>
  pattern.replace(/[.+^${}()|[\]\\*?]/g, (mark) => {
    if (mark === '*') return greedy ? '[\\s\\S]*' : '[\\s\\S]*?';
    return mark === '?' ? '[\\s\\S]' : `\\${mark}`;
  });

function withoutPrefix(value: string, pattern: string, greedy: boolean): string {
  return value.replace(new RegExp(`^${patternSource(pattern, greedy)}`), '');
}

function withoutSuffix(value: string, pattern: string, longest: boolean): string {
  const end = new RegExp(`^(?:${patternSource(pattern, true)})$`);
  const starts = Array.from({ length: value.length + 1 }, (_, index) => (longest ? index : value.length - index));
  const start = starts.find((index) => end.test(value.slice(index)));
  return start === undefined ? value : value.slice(0, start);
}

function replace(value: string, operation: string, expand: (text: string) => string): string {
  const kind = operation[1] ?? '';
  const special = kind === '/' || kind === '#' || kind === '%';
  const [, from = '', to = ''] = /^((?:\\.|[^/])*)(?:\/([\s\S]*))?$/.exec(operation.slice(special ? 2 : 1)) ?? [];
  const [search, replacement] = [expand(from), expand(to)];
  if (search === '') return value;
  if (kind === '/') return value.replaceAll(search, () => replacement);
  if (kind === '#') return value.startsWith(search) ? replacement + value.slice(search.length) : value;
  if (kind === '%') return value.endsWith(search) ? value.slice(0, -search.length) + replacement : value;
  return value.replace(search, () => replacement);
}

function apply(value: string, operation: string, expand: (text: string) => string): string | undefined {
  if (operation === '') return value;
  if (operation === '^^') return value.toUpperCase();
  if (operation === ',,') return value.toLowerCase();
  if (operation === '^') return value.slice(0, 1).toUpperCase() + value.slice(1);
  if (operation === ',') return value.slice(0, 1).toLowerCase() + value.slice(1);
  if (operation.startsWith('/')) return replace(value, operation, expand);
  const [, mark = '', rest = ''] = /^(:[-=?+]|=|##|#|%%|%)([\s\S]*)$/.exec(operation) ?? [];
  if (mark.startsWith('#')) return withoutPrefix(value, expand(rest), mark === '##');
  if (mark.startsWith('%')) return withoutSuffix(value, expand(rest), mark === '%%');
  // `:?` and `:+` are not what a shell makes of them: both give a default.
  if (mark !== '') return value === '' ? expand(rest) : value;
  const [, from, count] = /^:(\d+)(?::(\d+))?$/.exec(operation) ?? [];
  if (from === undefined) return undefined;
  return value.slice(Number(from), count === undefined ? undefined : Number(from) + Number(count));
}

function evaluate(expression: string, variables: Variables): string {
  const length = /^#([A-Za-z_]\w*)$/.exec(expression);
  if (length !== null) return String((variables[length[1]!] ?? '').length);
  const [, name, operation = ''] = /^([A-Za-z_]\w*)([\s\S]*)$/.exec(expression) ?? [];
  const expand = (text: string) => envsubst(text, variables);
  const value = name === undefined ? undefined : apply(variables[name] ?? '', operation, expand);
  if (value === undefined) throw new Error(`"\${${expression}}" is no substitution that faas-cli knows`);
  return value;
}

/**
 * Replaces variables in a whole text, comments included, as faas-cli does before it reads a stack file: `${VAR}`,
 * `${VAR:-default}` (also `=`, `:=`, `:?`, `:+`; an empty value takes the default), `${VAR^^}`, `${VAR,,}`,
 * `${VAR:pos:len}`, `${#VAR}`, `${VAR#prefix}`, `${VAR%suffix}`, `${VAR/from/to}`. What is not set is empty; `$VAR` stays;
 * `$$` is a dollar; `\\` and `\/` lose their first backslash. Throws on a brace that never closes.
 */
export function envsubst(text: string, variables: Variables): string {
  let out = '';
  let index = 0;
  while (index < text.length) {
    if (text.startsWith('$$', index)) {
      out += '$';
      index += 2;
    } else if (text.startsWith('\\\\', index) || text.startsWith('\\/', index)) {
      out += text[index + 1];
      index += 2;
    } else if (text.startsWith('${', index)) {
      const end = closingBrace(text, index);
      out += evaluate(text.slice(index + 2, end), variables);
      index = end + 1;
    } else {
      out += text[index];
      index += 1;
    }
  }
  return out;
}
