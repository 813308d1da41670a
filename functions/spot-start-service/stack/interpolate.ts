export type Variables = ReadonlyMap<string, string>;

/** The end of `${...}` with braces inside: the index after its closing brace, or -1. */
function closing(text: string, from: number): number {
  let depth = 1;
  for (let at = from; at < text.length; at++) {
    if (text[at] === '{') depth += 1;
    else if (text[at] === '}' && --depth === 0) return at + 1;
  }
  return -1;
}

// No label needs more, and the search for the end of each brace would take the square of it.
const maxLength = 8_192;

function expand(text: string, values: Variables, depth: number): { text: string; complete: boolean } {
  let result = '';
  let complete = true;
  const add = (part: { text: string; complete: boolean }) => {
    result += part.text;
    complete &&= part.complete;
  };
  const named = (name: string) => {
    const value = values.get(name);
    add({ text: value ?? '', complete: value !== undefined });
  };
  for (let at = 0; at < text.length; ) {
    const dollar = text.indexOf('$', at);
    if (dollar < 0) {
      result += text.slice(at);
      break;
    }
    result += text.slice(at, dollar);
    const rest = text.slice(dollar + 1);
    const plain = /^[A-Za-z_]\w*/.exec(rest)?.[0];
    const end = rest.startsWith('{') ? closing(text, dollar + 2) : -1;
    const [, name = '', operator = '', word = ''] =
      end < 0 ? [] : (/^([A-Za-z_]\w*)(?:(:?[-+?])(.*))?$/s.exec(text.slice(dollar + 2, end - 1)) ?? []);
    if (rest.startsWith('$')) {
      result += '$';
      at = dollar + 2;
    } else if (plain !== undefined) {
      named(plain);
      at = dollar + 1 + plain.length;
    } else if (name !== '') {
      const value = values.get(name);
      const isSet = value !== undefined && !(operator.startsWith(':') && value === '');
      if (operator === '' || operator.endsWith('?')) named(name);
      else if (operator.endsWith('+') ? isSet : !isSet) {
        add(depth > 8 ? { text: '', complete: false } : expand(word, values, depth + 1));
      } else if (operator.endsWith('-')) result += value;
      at = end;
    } else {
      result += '$';
      at = dollar + 1;
    }
  }
  return { text: result, complete };
}

/**
 * Compose's `$VAR`, `${VAR}`, `${VAR:-d}`, `${VAR-d}`, `${VAR:+r}`, `${VAR:?e}`, nested ones and `$$`. `complete` is
 * false where a variable is not set, as one from an `.env` file, and for a text of more than 8,192 characters: such a one
 * says nothing about a host.
 */
export const interpolate = (text: string, values: Variables) =>
  text.length > maxLength ? { text: '', complete: false } : expand(text, values, 0);
