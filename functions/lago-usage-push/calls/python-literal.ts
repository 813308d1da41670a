/**
 * Reads Python's own text of a value (`{'a': None, 'b': [1, "it's"]}`), which LiteLLM's first webhook sends for its
 * objects. Undefined for anything else, as for texts nested deeper than 64 levels.
 */
export function readPythonLiteral(text: string): unknown {
  let at = 0;
  const fail = () => {
    throw new SyntaxError('not a Python literal');
  };
  const skip = () => {
    while (/\s/.test(text[at] ?? '')) at += 1;
  };
  const take = (character: string) => {
    skip();
    if (text[at] !== character) return false;
    at += 1;
    return true;
  };

  function readString(quote: string): string {
    let value = '';
    for (at += 1; text[at] !== quote; at += 1) {
      if (at >= text.length) fail();
      if (text[at] !== '\\') {
        value += text[at];
        continue;
      }
      at += 1;
      const kind = text[at] ?? '';
      const width = { x: 2, u: 4, U: 8 }[kind];
      const simple = ({ n: '\n', t: '\t', r: '\r' } as Record<string, string>)[kind];
      if (width === undefined) value += simple ?? kind;
      else {
        const code = Number.parseInt(text.slice(at + 1, at + 1 + width), 16);
        value += Number.isNaN(code) || code > 0x10ffff ? fail() : String.fromCodePoint(code);
        at += width;
      }
    }
    at += 1;
    return value;
  }

  function readItems(close: string, depth: number): unknown[] {
    const items: unknown[] = [];
    while (!take(close)) {
      items.push(readValue(depth + 1));
      if (!take(',') && text[at] !== close) fail();
    }
    return items;
  }

  function readValue(depth: number): unknown {
    if (depth > 64) fail();
    skip();
    const first = text[at] ?? '';
    if (first === "'" || first === '"') return readString(first);
    if (take('[')) return readItems(']', depth);
    if (take('(')) return readItems(')', depth);
    if (take('{')) {
      const entries: [string, unknown][] = [];
      while (!take('}')) {
        const key = readValue(depth + 1);
        if (!take(':')) fail();
        entries.push([String(key), readValue(depth + 1)]);
        if (!take(',') && text[at] !== '}') fail();
        skip();
      }
      return Object.fromEntries(entries);
    }
    const word = /^(None|True|False|-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)/i.exec(text.slice(at, at + 40))?.[0] ?? fail();
    at += word.length;
    if (word === 'None') return null;
    return word === 'True' || word === 'False' ? word === 'True' : Number(word);
  }

  try {
    const value = readValue(0);
    skip();
    return at === text.length ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Reads the text of a Python object of numbers and further objects, as LiteLLM's first webhook sends its usage:
 * `Usage(prompt_tokens=17, prompt_tokens_details=Details(cached_tokens=4, text_tokens=None))`, or a dict's text. Empty
 * for anything else.
 */
export function readPythonRecord(text: string): Record<string, unknown> {
  const literal = text
    .replace(/\b[A-Za-z_]\w*\(/g, '{')
    .replaceAll(')', '}')
    .replace(/([{,]\s*)([A-Za-z_]\w*)=/g, "$1'$2': ");
  const read = readPythonLiteral(literal);
  return typeof read === 'object' && read !== null && !Array.isArray(read) ? (read as Record<string, unknown>) : {};
}
