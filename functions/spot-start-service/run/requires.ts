import { HttpError } from '#shared/errors.ts';
import type { Candidate } from '../resolve/match.ts';
import { keyOf } from './jobs.ts';

export interface Needs<Item extends Candidate> {
  candidate: Item;
  requires: string[];
}

/**
 * The services that must be up before this one, each after those that it requires itself; `look` reads one's labels,
 * `find` its requirement by name. Throws HttpError 409 `requires_cycle` that names the circle.
 */
export async function orderRequired<Item extends Candidate>(
  root: Needs<Item>,
  find: (name: string, by: Item) => Promise<Item>,
  look: (candidate: Item) => Promise<string[]>,
): Promise<Item[]> {
  const ordered: Item[] = [];
  const done = new Set<string>();

  async function visit({ candidate, requires }: Needs<Item>, path: Item[]): Promise<void> {
    const chain = [...path, candidate];
    for (const name of requires) {
      const next = await find(name, candidate);
      const key = keyOf(next);
      const from = chain.findIndex((item) => keyOf(item) === key);
      if (from >= 0) {
        const circle = [...chain.slice(from), next].map((item) => item.name).join(' requires ');
        throw new HttpError(409, `Services require each other in a circle: ${circle}`, { code: 'requires_cycle' });
      }
      if (done.has(key)) continue;
      await visit({ candidate: next, requires: await look(next) }, chain);
      done.add(key);
      ordered.push(next);
    }
  }

  await visit(root, []);
  return ordered;
}
