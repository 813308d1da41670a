/** Names, or globs in which `*` stands for any characters, `/` and `:` as well. Case counts. */
export interface Patterns {
  /** As they were written. */
  readonly texts: readonly string[];
  matches(name: string): boolean;
}

export function createPatterns(texts: readonly string[]): Patterns {
  const names = new Set(texts.filter((text) => !text.includes('*')));
  const globs = texts
    .filter((text) => text.includes('*'))
    .map((glob) => glob.split(/\*+/).map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&')))
    .map((parts) => new RegExp(`^${parts.join('[\\s\\S]*')}$`));
  return { texts, matches: (name) => names.has(name) || globs.some((glob) => glob.test(name)) };
}

export const isGlob = (text: string) => text.includes('*');
