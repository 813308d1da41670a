import type { Found } from '../resolve/match.ts';
import type { Scope, ServiceState, SpotService } from '../service.ts';

const keepMs = 1_000;

/** Looks at services for many pages at once: one look per service and second, however many wait for it. */
export function createLooks(service: Pick<SpotService, 'status'>, now: () => number) {
  const looks = new Map<string, { atMs: number; state: Promise<ServiceState> }>();
  const keyOf = ({ endpoint, name }: Found) => `${endpoint.id}/${name}`;
  return {
    look(found: Found, scope: Scope): Promise<ServiceState> {
      const known = looks.get(keyOf(found));
      if (known !== undefined && now() - known.atMs < keepMs) return known.state;
      if (looks.size > 1_000) looks.clear();
      // Whoever asked first may leave while others wait for the same look.
      const state = service.status(found, { ...scope, signal: new AbortController().signal });
      looks.set(keyOf(found), { atMs: now(), state });
      state.catch(() => looks.delete(keyOf(found)));
      return state;
    },
    /** After a start the last look is no longer true. */
    forget: (found: Found): boolean => looks.delete(keyOf(found)),
  };
}
