/**
 * YAML or JSON, with few aliases, so that a small body cannot grow. Loaded with its first use: the parser would be half of
 * a start. Throws Error of one line.
 */
export async function readYaml(text: string): Promise<unknown> {
  const { parse } = await import('yaml');
  try {
    return parse(text, { maxAliasCount: 20 });
  } catch (error) {
    throw new Error(String(error instanceof Error ? error.message : error).split('\n')[0]);
  }
}
