import { rankHost } from './hosts.ts';

/** A stack of Portainer's, or containers of a compose project that Portainer did not deploy (`stackId` null). */
export interface Candidate {
  name: string;
  /** Its compose project: the stack's name as Portainer normalises it. */
  project: string;
  endpoint: { id: number; name: string };
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

/** Narrows by what the caller told: endpoint by name or id, stack by id. */
function isTold(candidate: Candidate, told: { endpoint?: string | undefined; stackId?: string | undefined }): boolean {
  const { id, name } = candidate.endpoint;
  const { endpoint, stackId } = told;
  return (
    (endpoint === undefined || endpoint === name || endpoint === String(id)) &&
    (stackId === undefined || stackId === String(candidate.stackId))
  );
}

/**
 * All candidates that a name means, the exact spelling before the normalised one and Portainer's stacks before external
 * projects. More than one is ambiguous: the same name on two endpoints is legal.
 */
export function matchName<Item extends Candidate>(
  candidates: Item[],
  name: string,
  told: { endpoint?: string | undefined; stackId?: string | undefined } = {},
): Item[] {
  const normalised = normaliseStackName(name);
  const here = candidates.filter((candidate) => isTold(candidate, told));
  const exact = here.filter((candidate) => candidate.name === name);
  const same = exact.length > 0 ? exact : here.filter((item) => normaliseStackName(item.name) === normalised);
  const managed = normalised === '' ? [] : same.filter(({ stackId }) => stackId !== null);
  return managed.length > 0 ? managed : normalised === '' ? [] : same;
}

/** All candidates at the best rank whose labels claim the host; else the one stack named as the host's first part. */
export function matchHost<Item extends Candidate & { labels: Record<string, string>[] }>(
  candidates: Item[],
  host: string,
): Item[] {
  const ranked = candidates.map((candidate) => ({ candidate, rank: rankHost(host, candidate.labels) }));
  for (const rank of [0, 1, 2]) {
    const best = ranked.filter((item) => item.rank === rank).map(({ candidate }) => candidate);
    if (best.length > 0) return best;
  }
  // An address is no name, and neither is a host of one part: `localhost` says nothing about a stack.
  if (!host.includes('.') || /^[\d.]+$/.test(host)) return [];
  const named = matchName(candidates, host.slice(0, host.indexOf('.')));
  return named.length === 1 ? named : [];
}
