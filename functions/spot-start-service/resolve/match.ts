import type { PortainerEndpoint } from '#shared/clients/portainer.ts';
import type { Claim, Source } from './claims.ts';
import { sources } from './claims.ts';
import type { HostMapping } from './map.ts';
import { compareFits, type Fit, fitRule, type Matches, type Wish } from './rule.ts';

/** A stack of Portainer's, or containers of a compose project that Portainer did not deploy (`stackId` null). */
export interface Candidate {
  name: string;
  /** Its compose project: the stack's name as Portainer normalises it. */
  project: string;
  endpoint: Pick<PortainerEndpoint, 'id' | 'name' | 'kind'>;
  stackId: number | null;
}

/** One service, and what may be done for a visitor who has no key. */
export interface Found extends Candidate {
  /** A label of its own (`spot-start.host`, `spot-start.enable`) or SPOT_START_HOSTS names it. */
  labelled: boolean;
  /** The wanted host is claimed by a label, a file or SPOT_START_HOSTS, and not only alike in name: a redirect is safe. */
  hostIsKnown: boolean;
}

/** Portainer's rule, and so compose's project label: lower case, nothing outside `[-_a-z0-9]`. */
export const normaliseStackName = (name: string) => name.toLowerCase().replace(/[^-_a-z0-9]/g, '');

interface Told {
  endpoint?: string | undefined;
  stackId?: string | undefined;
}

/** Narrows by what the caller told: endpoint by name or id, stack by id. */
function isTold(candidate: Candidate, { endpoint, stackId }: Told): boolean {
  const { id, name } = candidate.endpoint;
  return (
    (endpoint === undefined || endpoint.toLowerCase() === name.toLowerCase() || endpoint === String(id)) &&
    (stackId === undefined || stackId === String(candidate.stackId))
  );
}

/**
 * All candidates that a name means, the exact spelling before the normalised one and Portainer's stacks before external
 * projects. More than one is ambiguous: the same name on two endpoints is legal. Without a name the stack id decides.
 */
export function matchName<Item extends Candidate>(
  candidates: Item[],
  name: string | undefined,
  told: Told = {},
): Item[] {
  const here = candidates.filter((candidate) => isTold(candidate, told));
  if (name === undefined) return told.stackId === undefined ? [] : here;
  const normalised = normaliseStackName(name);
  if (normalised === '') return [];
  const exact = here.filter((candidate) => candidate.name === name);
  const same = exact.length > 0 ? exact : here.filter((item) => normaliseStackName(item.name) === normalised);
  const managed = same.filter(({ stackId }) => stackId !== null);
  return managed.length > 0 ? managed : same;
}

export interface HostOptions {
  map: HostMapping[];
  matches: Matches;
  /** Under which domains a host's first part is a stack's name; empty: under all. */
  nameDomains: string[];
}

interface Ranked<Item> {
  item: Item;
  source: Source;
  fit: Fit;
}

const compare = <Item>(one: Ranked<Item>, other: Ranked<Item>) =>
  sources.indexOf(one.source) - sources.indexOf(other.source) || compareFits(one.fit, other.fit);

const isUnder = (host: string, domain: string) => host.endsWith(`.${domain.replace(/^\*?\./, '')}`);

/** All candidates at the best rank: first by where the claim stands, then exact before wildcard before regexp, then the longer path. */
export function matchHost<Item extends Candidate & { claims: Claim[] }>(
  candidates: Item[],
  wish: Wish,
  { map, matches, nameDomains }: HostOptions,
): { items: Item[]; source: Source | undefined; hostIsKnown: boolean } {
  const ranked: Ranked<Item>[] = map.flatMap(({ rule, stack, endpoint }) => {
    const fit = fitRule(rule, wish, matches);
    const items = fit === undefined ? [] : matchName(candidates, stack, { endpoint });
    return fit === undefined ? [] : items.map((item) => ({ item, source: 'map' as const, fit }));
  });
  for (const item of candidates) {
    for (const { source, rule } of item.claims) {
      const fit = fitRule(rule, wish, matches);
      if (fit !== undefined) ranked.push({ item, source, fit });
    }
  }
  const [best] = ranked.toSorted(compare);
  if (best !== undefined) {
    const items = ranked.filter((other) => compare(best, other) === 0).map(({ item }) => item);
    return { items: [...new Set(items)], source: best.source, hostIsKnown: true };
  }
  // An address is no name, and neither is a host of one part: `localhost` says nothing about a stack.
  const { host } = wish;
  const vouched = nameDomains.some((domain) => isUnder(host, domain));
  const isName = host.includes('.') && !/^[\d.]+$/.test(host) && (vouched || nameDomains.length === 0);
  const named = isName ? matchName(candidates, host.slice(0, host.indexOf('.'))) : [];
  return named.length === 1
    ? { items: named, source: 'name', hostIsKnown: vouched }
    : { items: [], source: undefined, hostIsKnown: false };
}
