const names = [
  /** Starts of a stack that Portainer took, by the stack's id: two of one stack are a stack started twice. */
  'starts',
  /** Of those, what a restart of Portainer ended on its way: they have to be begun anew. */
  'lostStarts',
  /** Starts that were refused, which changes nothing. */
  'refusedStarts',
  /** Runs of `compose up`, whatever asked for them. */
  'composeUps',
  'stops',
  'updates',
  'refusedChanges',
  /** Container actions, by the container's name. */
  'containerStarts',
  'containerRestarts',
  'containerUnpauses',
  'containerStops',
  'containerRemovals',
] as const;

export type CountName = (typeof names)[number];

/** What was done, counted by stack or container; and logins, by how they were answered. */
export function createCounts() {
  const table = Object.fromEntries(names.map((name) => [name, {}])) as Record<CountName, Record<string, number>>;
  const logins = { given: 0, refused: 0, banned: 0 };
  return {
    ...table,
    logins,
    add(name: CountName, key: string | number): void {
      table[name][key] = (table[name][key] ?? 0) + 1;
    },
  };
}

export type Counts = ReturnType<typeof createCounts>;
