import type { Matches } from './rule.ts';

interface Compiled {
  matches(host: string): boolean;
}

// A regexp that fits both claims whatever comes: an error page's catch-all, which is no claim.
const strangers = ['spot-start.invalid', 'x.y.z.example.test'];
const maxLength = 1_024;

/** Go's regexps by re2js, whose time grows with the input alone. It is loaded when the first label has one. */
export function createRegexps() {
  let compile: ((source: string) => Compiled) | undefined;
  const known = new Map<string, Compiled | undefined>();

  function find(source: string): Compiled | undefined {
    if (known.has(source)) return known.get(source);
    if (known.size > 2_000) known.clear();
    let compiled: Compiled | undefined;
    try {
      compiled = source.length > maxLength ? undefined : compile?.(source);
      if (compiled !== undefined && strangers.every((host) => compiled?.matches(host))) compiled = undefined;
    } catch {
      compiled = undefined;
    }
    known.set(source, compiled);
    return compiled;
  }

  const matches: Matches = (source, host) => find(source)?.matches(host) ?? false;
  return {
    matches,
    async load() {
      if (compile !== undefined) return;
      const { RE2JS } = await import('re2js');
      compile = (source) => {
        const pattern = RE2JS.compile(source);
        return { matches: (host) => pattern.matcher(host).find() };
      };
    },
  };
}
